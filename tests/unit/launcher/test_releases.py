"""`make release`: a number, a heading, a commit and a tag, in a repository of its own; all or nothing."""

import datetime
import subprocess
from pathlib import Path

import pytest

from launcher.errors import SettingsError, WorkFailed
from launcher.releases import release

DAY = datetime.date(2026, 11, 27)
OURS = Path(__file__).parents[3]


def git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", checkout, *arguments], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with this project's own three files."""
    for name in ("pyproject.toml", "uv.lock", "CHANGELOG.md"):
        (tmp_path / name).write_text((OURS / name).read_text(encoding="utf-8"), encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "Somebody")
    git(tmp_path, "config", "user.email", "somebody@example.com")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    return tmp_path


def test_a_release_is_one_commit_with_a_tag(checkout: Path) -> None:
    before = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")

    tag = release(checkout, "1.2.0", today=DAY)

    assert tag == "v1.2.0"
    assert git(checkout, "log", "--format=%s").splitlines() == ["Release 1.2.0", "Begin"]
    assert git(checkout, "rev-parse", "v1.2.0^{commit}") == git(checkout, "rev-parse", "HEAD")
    assert git(checkout, "status", "--porcelain") == ""
    changed = git(checkout, "diff", "--unified=0", "HEAD~1").splitlines()
    added = [line[1:] for line in changed if line.startswith("+") and not line.startswith("+++")]
    assert sorted(filter(None, added)) == ["## 1.2.0 (2026-11-27)", 'version = "1.2.0"', 'version = "1.2.0"']
    log = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    assert log.partition("## 1.2.0 (2026-11-27)\n")[2] == before.partition("## Unreleased\n")[2]


def test_the_next_release_needs_changes_of_its_own(checkout: Path) -> None:
    release(checkout, "1.2.0", today=DAY)

    with pytest.raises(SettingsError, match="nothing below"):
        release(checkout, "1.3.0", today=DAY)


@pytest.mark.parametrize(
    ("version", "says"),
    [("1.2", "three numbers"), ("v1.2.0", "three numbers"), ("0.0.9", "above"), ("1.02.0", "three numbers")],
)
def test_a_number_that_cannot_follow_changes_nothing(checkout: Path, version: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        release(checkout, version)

    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "tag") == ""


def test_what_is_not_committed_is_named(checkout: Path) -> None:
    (checkout / "new.py").write_text("")

    with pytest.raises(SettingsError, match=r"new\.py"):
        release(checkout, "1.2.0")


def test_a_tag_that_is_there_is_not_moved(checkout: Path) -> None:
    git(checkout, "tag", "v1.2.0")

    with pytest.raises(SettingsError, match="there already"):
        release(checkout, "1.2.0")


def test_git_s_refusal_is_told(checkout: Path) -> None:
    hook = checkout / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho 'lint has failed' >&2\nexit 1\n")
    hook.chmod(0o755)

    with pytest.raises(WorkFailed, match="lint has failed"):
        release(checkout, "1.2.0")
