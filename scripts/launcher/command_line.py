"""How every script of this folder speaks and ends: one message, no traceback for a person's mistake.

Exit codes: 0 done; 1 the work failed or was answered only in part; 2 wrong usage or settings;
75 (EX_TEMPFAIL) the work was stopped and can be continued; 130 after Ctrl-C; 143 after SIGTERM (129 when the
terminal went away).
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from launcher import plain_text
from launcher.datasets import DatasetError
from launcher.errors import SettingsError, WorkFailed, WorkStopped

Item = TypeVar("Item")
# What a person can mend: no room, no permission, a read-only disk, a name that is none.
PLACE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
PAGE_COLUMNS = 120  # of a table that no terminal shows
# What a script says in front of the reason, and its exit code.
ENDINGS: dict[type[Exception], tuple[str, int]] = {
    SettingsError: ("error", 2),
    DatasetError: ("error", 2),
    WorkFailed: ("error", 1),
    WorkStopped: ("stopped", os.EX_TEMPFAIL),
}


def run(main: Callable[[], int]) -> int:
    """Call a script's `main` and return its exit code; containers and processes are cleaned up first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        return main()
    except tuple(ENDINGS) as ending:
        word, code = next(how for kind, how in ENDINGS.items() if isinstance(ending, kind))
        return _say("\n".join([f"{word}: {ending}", *_notes(ending)]), code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): Python would complain again while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in PLACE_ERRORS:
            raise
        return _say(f"error: {_about_the_place(error)}", 1)
    except KeyboardInterrupt as stop:
        _leave_no_more()
        return _say("\n".join(["stopped by Ctrl-C", *_notes(stop)]), 130)
    except SystemExit as stop:
        _leave_no_more()
        for note in _notes(stop):
            tell(note)
        raise


def _notes(error: BaseException) -> list[str]:
    """Return what was added on the way up, such as how to continue a job that was interrupted.

    A second Ctrl-C, while the first was being heeded, has nothing to add but the first one's.
    """
    first = _notes(error.__context__) if error.__context__ is not None else []
    return list(dict.fromkeys([*first, *getattr(error, "__notes__", [])]))


def _about_the_place(error: OSError) -> str:
    """Say which place cannot be written, and what to do about it."""
    place = error.filename
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        disk = f"the disk of {place}" if place else "the disk"
        return f"{disk} is full: make room, or choose a folder on another disk (--output)"
    return f"{place} cannot be used: {error.strerror}"


def _leave(number: int, _frame: FrameType | None) -> None:
    """Turn a signal into SystemExit, so that `finally` clauses run as they do after Ctrl-C."""
    raise SystemExit(128 + number)


def _leave_no_more() -> None:
    """Heed no further Ctrl-C: the interpreter is leaving already, and waits for threads that clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def page() -> Console:
    """Return stdout for tables, as wide as its terminal; where it has none they are not cut to fit one."""
    return Console(width=None if sys.stdout.isatty() else PAGE_COLUMNS)


def tell(line: str) -> None:
    """Write a line, or some, to stderr at once: a log's, why AWS refuses, which backend was chosen."""
    print(plain_text.lines(line), file=sys.stderr, flush=True)


def progress(steps: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """Pass items on with a progress bar on stderr; silent when that is not a terminal."""
    console = Console(stderr=True)
    yield from track(
        steps, description=what, total=total, console=console, transient=True, disable=not console.is_terminal
    )


def has_screen() -> bool:
    """Tell whether a browser would open a window, not take over this terminal."""
    return sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def _say(message: str, code: int) -> int:
    tell(message)
    return code
