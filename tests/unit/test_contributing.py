"""CONTRIBUTING.md is done: its patches are applied to a copy of the checkout, its commands run there."""

import subprocess
from pathlib import Path

import pytest

import pages

PAGE = pages.ROOT / "CONTRIBUTING.md"
EXAMPLES = {
    heading: [block for block in pages.blocks(PAGE, "diff", "sh") if block.heading == heading]
    for heading in dict.fromkeys(block.heading for block in pages.blocks(PAGE, "diff"))
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that git knows, as they are now, and this checkout's environment."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=pages.ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((pages.ROOT / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_is_applied_and_its_commands_succeed(copy: Path, heading: str) -> None:
    wings = ":".join(str(copy / wing) for wing in ("container_train", "container_serve", "scripts"))
    for block in EXAMPLES[heading]:
        if block.language == "diff":
            patch = ["git", "apply", "-"]
            done = subprocess.run(
                patch, cwd=copy, input=block.text, capture_output=True, text=True, check=False
            )
            code, output = done.returncode, done.stderr
        else:
            # Its own packages come before those that the environment knows of.
            code, output = pages.run(block.text, copy, {}, PYTHONPATH=wings)
        assert code == 0, output
