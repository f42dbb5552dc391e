"""Folders that appear whole or not at all; used by whatever fetches, unpacks or draws files.

A kill at any moment leaves nothing behind that looks finished: work happens under a hidden name and one
rename at the end shows it.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.errors import WorkFailed


class SpaceError(WorkFailed):
    """The disk has no room for what is about to be written."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder for one process at a time; a second one waits and says so.

    The lock is the system's (`flock` on the folder itself), so a killed process never leaves it behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another run that writes to {folder}", file=sys.stderr)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def appearing(destination: Path) -> Iterator[Path]:
    """Yield a hidden folder beside the destination that takes its place when the block ends well.

    Whatever a killed run left under the hidden name is removed first, and the hidden folder itself when the
    block raises. A destination that exists is replaced: the caller decides whether it may be.
    """
    hidden = destination.with_name(f".{destination.name}.partial")
    if hidden.exists():
        shutil.rmtree(hidden)
    hidden.mkdir(parents=True)
    try:
        yield hidden
        if destination.exists():
            shutil.rmtree(destination)
        hidden.rename(destination)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def require_space(folder: Path, needed: int) -> None:
    """Raise SpaceError unless the folder's file system has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SpaceError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed: "
            "make room or choose a folder on another disk"
        )
