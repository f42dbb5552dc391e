"""What runs for us, a container or a process group, seen the same way: it logs, it ends, it can be stopped.

`docker_backend` and `process_backend` start workloads; `jobs` and `hosting` follow them.
"""

import codecs
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

OnLine = Callable[[str], None]
POLL_SECONDS = 0.2
# What the platform grants: a training job has 120 s after SIGTERM, an endpoint's container 30 s.
TRAINING_GRACE_SECONDS = 120
SERVING_GRACE_SECONDS = 30
# A person who pressed Ctrl-C waits for it: enough to end a training step and write a checkpoint.
INTERRUPT_GRACE_SECONDS = 30


class Workload(Protocol):
    """A started container or process group."""

    def output(self) -> Iterator[bytes]:
        """Yield what it writes to stdout and stderr, in pieces of any size, until it has ended."""

    def exit_code(self) -> int | None:
        """Return its exit code, or None while it runs; a killing signal counts as 128 + its number."""

    def ended_at(self) -> float:
        """Return when it ended, in seconds since the epoch; only asked of one that has."""

    def terminate(self) -> None:
        """Send SIGTERM to its first process, unless it has ended."""

    def kill(self) -> None:
        """Send SIGKILL to whatever is left of it."""


class Log:
    """Follows a workload's output in a thread: every line to a callback, the last ones kept."""

    def __init__(self, output: Iterable[bytes], on_line: OnLine, path: Path | None = None) -> None:
        self.last_lines: deque[str] = deque(maxlen=20)
        self._output = output
        self._on_line = on_line
        self._path = path
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="log")
        self._thread.start()

    def _follow(self) -> None:
        try:
            if self._path is None:
                self._pass_on(lines(self._output))
            else:
                with self._path.open("w", encoding="utf-8", buffering=1) as file:
                    self._pass_on(written(lines(self._output), file.write))
        except BaseException as error:  # noqa: BLE001 - raised again by check(), in the thread that waits
            self._error = error

    def _pass_on(self, source: Iterable[str]) -> None:
        for line in source:
            self.last_lines.append(line)
            self._on_line(line)

    def check(self) -> None:
        """Raise what went wrong while lines were passed on, such as a full disk or a closed pipe."""
        if self._error is not None:
            raise self._error

    def finish(self, seconds: float = 10) -> None:
        """Wait for the last lines, but not for ever: a stray descendant may hold the pipe open."""
        self._thread.join(seconds)
        self.check()


def lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Cut pieces of output into lines without their ends; a progress bar's carriage return ends one too."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + decoder.decode(piece)).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        yield from whole
    if rest:
        yield rest


def written(source: Iterable[str], write: Callable[[str], object]) -> Iterator[str]:
    """Yield the lines after writing each one."""
    for line in source:
        write(line + "\n")
        yield line


def wait(
    running: Collection[Workload],
    logs: Iterable[Log],
    *,
    seconds: float,
    cancel: threading.Event | None = None,
) -> bool:
    """Wait until all workloads have ended, or one has failed.

    Return False when the time is over first, or `cancel` is set.
    """
    logs, cancel = list(logs), cancel or threading.Event()
    deadline = time.monotonic() + seconds
    while True:
        codes = {workload.exit_code() for workload in running}
        if None not in codes or codes - {0, None}:
            return True
        for log in logs:
            log.check()
        if time.monotonic() > deadline or cancel.wait(POLL_SECONDS):
            return False


def stop(running: Collection[Workload], *, grace_seconds: float) -> None:
    """Send SIGTERM to all at the same time, then SIGKILL to whatever is left after the grace time.

    Hosts that train together can only write a checkpoint together.
    """
    try:
        for workload in running:
            workload.terminate()
        deadline = time.monotonic() + grace_seconds
        while any(workload.exit_code() is None for workload in running) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    finally:
        for workload in running:
            workload.kill()
