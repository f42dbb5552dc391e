"""How a training program ends: one clear line for a person, an exit code, the failure file.

Called by the entry scripts; the error classes below are raised all over the package.
"""

import errno
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from trainer.termination import Stop, Terminated

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_WRITABLE = NO_SPACE | {errno.EACCES, errno.EROFS}
SUCCESS, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class TrainerError(Exception):
    """The work cannot be done, and the message tells a person why and what to do."""

    exit_code = FAILED


class UsageError(TrainerError):
    """A setting is wrong; nothing was started."""

    exit_code = USAGE


class DataError(TrainerError):
    """The pictures cannot be trained on as they lie there."""


class WeightsError(TrainerError):
    """No usable pretrained weights were found."""


class TrainingError(TrainerError):
    """Training itself went wrong: it diverged, or ran out of memory."""


class DiskError(TrainerError):
    """A disk has no room for what the work has to keep."""


class ExportError(TrainerError):
    """The model artifact could not be written or does not answer like the trained model."""


def run_program(program: Callable[[Stop], None], *, failure_file: Path | None) -> int:
    """Run an entry script's work and return its exit code.

    A `TrainerError`, a full disk and Ctrl-C become one line on stderr, which is also written to
    `failure_file` unless the file is there already. SIGTERM is no failure: what was done is kept, the
    same command goes on from there, and the code is 0. Anything else is a defect and keeps its traceback.
    """
    stop = Stop()
    _write_whole_lines()
    with stop.installed():
        try:
            program(stop)
            return SUCCESS
        except TrainerError as error:
            return _report(str(error), error.exit_code, failure_file)
        except KeyboardInterrupt:
            return _report("interrupted", INTERRUPTED, failure_file)
        except Terminated:
            print("stopped by SIGTERM; the same command continues from here", file=sys.stderr, flush=True)
            return SUCCESS
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            message = f"cannot write {error.filename or 'a file'}: {error.strerror}"
            return _report(message, FAILED, failure_file)


def _write_whole_lines() -> None:
    """Unbuffered, Python writes a line and its end apart, and the toolkit makes two lines of that."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)


def _report(message: str, code: int, failure_file: Path | None) -> int:
    if "Original Traceback" in message:  # how torch hands on the error of a loader process
        message = message.strip().splitlines()[-1].partition(": ")[2]
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr, flush=True)
    if failure_file is not None and failure_file.parent.is_dir() and not failure_file.exists():
        try:
            failure_file.write_text(line + "\n", encoding="utf-8")
        except OSError as error:
            print(f"{failure_file} cannot be written: {error.strerror}", file=sys.stderr, flush=True)
    return code
