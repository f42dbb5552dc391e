"""The images' tag follows what they are built from, and not what else is committed."""

import subprocess
from pathlib import Path

import pytest

from launcher import revision
from launcher.errors import SettingsError


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    return subprocess.check_output(["git", "-C", folder, *who, *arguments], text=True).strip()


def commit(folder: Path, file: str, text: str) -> str:
    """Write a file, commit it, and return the commit."""
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(text)
    git(folder, "add", file)
    git(folder, "commit", "--quiet", "--message", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with a commit of each kind."""
    git(tmp_path, "init", "--quiet")
    for folder in revision.SOURCES:
        commit(tmp_path, f"{folder}/code", "one")
    return tmp_path


def test_only_a_commit_that_changes_an_image_is_another_revision(checkout: Path) -> None:
    of_image = commit(checkout, "docker/code", "two")

    commit(checkout, "README.md", "three")

    assert revision.of_images(checkout) == of_image[:12]


@pytest.mark.parametrize("committed", [True, False])
def test_an_image_stays_good_until_what_it_is_built_from_changes(checkout: Path, committed: bool) -> None:
    def change(file: str) -> None:
        if committed:
            commit(checkout, file, "two")
        else:
            (checkout / file).write_text("two")

    commit(checkout, "README.md", "one")
    built_from = git(checkout, "rev-parse", "HEAD")
    change("README.md")
    revision.check("image", f"{built_from}-dirty", checkout)

    change("container_serve/code")
    with pytest.raises(SettingsError, match=f"was built from {built_from}, .*`make build`"):
        revision.check("image", built_from, checkout)


@pytest.mark.parametrize("label", [None, "unknown"])
def test_an_image_that_does_not_say_what_it_was_built_from_is_not_trusted(
    checkout: Path, label: str | None
) -> None:
    with pytest.raises(SettingsError, match="was built from"):
        revision.check("image", label, checkout)


def test_without_git_the_tag_has_to_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    with pytest.raises(SettingsError, match=r"images\.tag in the settings is empty"):
        revision.of_images(tmp_path)
