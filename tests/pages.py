"""The pages of the documentation as tests see them: headings, links, blocks, and a place to run these.

A block is run as it stands, but for words that this machine has something else for (`stand_ins`).
"""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

import drawn

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docker/*/*.md"), *ROOT.glob("benchmarks/*.md")]
)
# What commands write and read is not the checkout's own.
RESULTS = {"runs", "data", "build"}


@dataclass(frozen=True)
class Block:
    """A fenced block: the page's name, the heading it stands under, its language, and what is in it."""

    page: str
    heading: str
    language: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the page's blocks in these languages, in their order."""
    found, heading = [], ""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and after:
            heading = after.content
        elif token.type == "fence" and token.info in languages:
            found.append(Block(os.path.relpath(page, ROOT), heading, token.info, token.content))
    return found


def links(page: Path) -> list[str]:
    """Return where the page's links and pictures lead."""
    return [
        str(token.attrs.get("href") or token.attrs.get("src"))
        for token in _inline(page)
        if token.type in {"link_open", "image"}
    ]


def inline_code(page: Path) -> list[str]:
    """Return what stands between backticks in the page's sentences and tables, each on one line."""
    return [token.content for token in _inline(page) if token.type == "code_inline"]


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives the page's headings."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    headings = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _inline(page: Path) -> Iterator[Token]:
    # Tables are no part of CommonMark; their cells have links as well.
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        yield from token.children or ()


def linked_checkout(folder: Path) -> Path:
    """Make a folder in which the pages' paths lead to this checkout, and results stay out of it."""
    for entry in ROOT.iterdir():
        if entry.name not in RESULTS:
            (folder / entry.name).symlink_to(entry)
    drawn.whole(folder / "data/drawn")
    return folder


def run(block: str, folder: Path, stand_ins: Mapping[str, str], **variables: str) -> tuple[int, str]:
    """Run a block with bash, each command behind a `+`; returns its exit code and output."""
    for word, stand_in in stand_ins.items():
        block = block.replace(word, stand_in)
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # An outer make's flags are no business of those here.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", block],
        cwd=folder,
        # `make setup` has nothing to do, and would lead the environment's packages to this folder.
        env=inherited | {"PATH": programs, "COLUMNS": "120", "UV": "/bin/true"} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout
