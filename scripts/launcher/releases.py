"""A release: its number in pyproject.toml, uv.lock and the changelog, one commit, and a tag.

Called by `release.py`. Nothing is written unless all of it can be.
"""

import datetime
import re
import subprocess
from pathlib import Path

from launcher.errors import SettingsError, WorkFailed

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_UNRELEASED = re.compile(r"^## Unreleased\n(?P<changes>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def release(checkout: Path, version: str, *, today: datetime.date | None = None) -> str:
    """Release what is committed; returns the tag.

    Raises SettingsError for a number that cannot follow, changes that are not committed, or a changelog with
    nothing to release; WorkFailed when git refuses.
    """
    project, lock = checkout / "pyproject.toml", checkout / "uv.lock"
    before = _current(project.read_text(encoding="utf-8"))
    _check(checkout, before, version)
    log = checkout / "CHANGELOG.md"
    day = today or datetime.datetime.now(datetime.UTC).date()
    written = {
        log: _released(log.read_text(encoding="utf-8"), version, day),
        project: _renumbered(project, before, version),
        lock: _renumbered(lock, before, version),
    }
    for file, content in written.items():
        file.write_text(content, encoding="utf-8")
    _git(checkout, "commit", "--quiet", "--message", f"Release {version}", "--", *map(str, written))
    _git(checkout, "tag", "--annotate", "--message", f"Release {version}", f"v{version}")
    return f"v{version}"


def _current(project: str) -> str:
    found = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    if not found:
        raise SettingsError('pyproject.toml has no line `version = "…"`')
    return found[1]


def _check(checkout: Path, before: str, version: str) -> None:
    if not _VERSION.fullmatch(version):
        raise SettingsError(f"the version is {version!r}: it must be three numbers, such as 1.2.0")
    if _numbers(version) <= _numbers(before):
        raise SettingsError(f"the version is {version}: it must be above {before}, the last one")
    if changed := _git(checkout, "status", "--porcelain").strip():
        raise SettingsError(f"these are not committed, so they would not be in the release:\n{changed}")
    if _git(checkout, "tag", "--list", f"v{version}").strip():
        raise SettingsError(f"the tag v{version} is there already")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _released(log: str, version: str, day: datetime.date) -> str:
    """Give what is unreleased its number, and begin anew above it."""
    found = _UNRELEASED.search(log)
    if not found or not found["changes"].strip():
        raise SettingsError("CHANGELOG.md has nothing below `## Unreleased`: say what this release brings")
    return log.replace("## Unreleased\n", f"## Unreleased\n\n## {version} ({day})\n", 1)


def _renumbered(file: Path, before: str, version: str) -> str:
    """Replace the project's own version, which stands behind its name."""
    pattern = re.compile(rf'^(name = "dog-breeds"\nversion = ")({re.escape(before)})"$', re.MULTILINE)
    content, count = pattern.subn(rf'\g<1>{version}"', file.read_text(encoding="utf-8"))
    if count != 1:
        raise SettingsError(f"{file.name} does not say that dog-breeds is {before}: make lock")
    return content


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", checkout, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkFailed(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
