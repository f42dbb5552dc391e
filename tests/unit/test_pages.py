"""What stands in the pages is there: each link leads somewhere, and each command is run by a test.

Of a command within a sentence, which no test runs, the task or the options have to exist.
"""

import re
import subprocess
from pathlib import Path

import pytest
import script

import pages

# Who runs a page's commands; the tests of that file say for which words something stands in.
RUN_BY = {
    "CONTRIBUTING.md": "tests/unit/test_contributing.py",
    "README.md": "tests/container/test_pages.py",
    "docs/artifact.md": "tests/container/test_pages.py",
    "docs/debugging.md": "tests/container/test_pages.py",
    "docs/doctor.md": "tests/container/test_pages.py",
    "docs/local-mode.md": "tests/local_mode/test_local_mode.py",
    "docs/operations.md": "tests/aws/test_whole_life.py",
    "docs/training.md": "tests/container/test_pages.py",
    "docs/tuning.md": "tests/container/test_pages.py",
}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    broken = []
    for link in pages.links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if file.startswith(("https://", "http://", "mailto:")):
            continue
        if not target.exists() or (anchor and anchor not in pages.anchors(target)):
            broken.append(link)

    assert broken == []


def test_each_page_with_commands_has_a_test_that_runs_them() -> None:
    with_commands = {
        str(page.relative_to(pages.ROOT)) for page in pages.PAGES if pages.blocks(page, "sh", "python")
    }

    assert with_commands == RUN_BY.keys()
    for page, test in RUN_BY.items():
        assert Path(page).stem in (pages.ROOT / test).read_text(encoding="utf-8"), (
            f"{test} does not name {page}"
        )


def test_each_task_that_a_sentence_names_is_one_of_the_makefile() -> None:
    tasks = {task for page in pages.PAGES for code in pages.inline_code(page) for task in tasks_named(code)}

    # Not --dry-run of them: the demo is run by a make of its own, which that would start.
    database = subprocess.run(
        ["make", "--print-data-base", "--question", "help"],
        cwd=pages.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    there = re.search(r"^\.PHONY: (.*)$", database.stdout, re.MULTILINE)

    assert there
    assert len(tasks) > 20
    assert tasks <= set(there[1].split())


def tasks_named(code: str) -> list[str]:
    """Return the tasks of a command such as `make build push TAG=1`."""
    found = re.match(r"make((?: [a-z][a-z-]*)+)", code)
    return found[1].split() if found else []


def test_each_option_that_a_sentence_names_is_one_of_its_script() -> None:
    named: dict[str, set[str]] = {}
    for code in (code for page in pages.PAGES for code in pages.inline_code(page)):
        found = re.match(r"(?:python )?(?:scripts/)?(\w+)\.py (.*)", code)
        if found and (pages.ROOT / f"scripts/{found[1]}.py").exists():
            named.setdefault(found[1], set()).update(re.findall(r"(?<!\S)--[a-z][a-z-]*", found[2]))

    unknown = {name: options - options_of(name) for name, options in named.items()}

    assert len(named) > 5
    assert not {name: options for name, options in unknown.items() if options}


def options_of(name: str) -> set[str]:
    """Return the options that a script's --help lists."""
    return set(re.findall(r"--[a-z][a-z-]*", script.run(name, "--help").stdout.partition("options:")[2]))


def test_a_link_to_nowhere_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n| a table |\n|---|\n| [gone](gone.md#a-page) ![picture](none.png) |\n")

    assert pages.links(page) == ["gone.md#a-page", "none.png"]
    assert pages.anchors(page) == {"a-page"}
