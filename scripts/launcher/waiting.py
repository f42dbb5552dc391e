"""Waiting for work on AWS that goes on by itself: how often to look, and what is shown meanwhile."""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from launcher.plain_text import cell

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 15.0  # what is over soon is seen soon


def looks(longest: float = LONGEST_SECONDS) -> Iterator[None]:
    """Yield when it is time to look, ever more seldom, down to once in so many seconds."""
    pause = FIRST_SECONDS
    while True:
        yield
        time.sleep(pause)
        pause = min(pause * 1.5, longest)


class Waiting:
    """Shows on stderr what is waited for: a line that moves on a terminal, else a line for each change."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._shown = ""
        self._began = time.monotonic()
        console = Console(stderr=True)
        self._status = Status("", console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def show(self, line: str) -> None:
        """Say how it stands."""
        if self._status:
            self.update(f"{line} ({time.monotonic() - self._began:.0f} s)")
        elif line != self._shown:
            self._say(line)
        self._shown = line

    def update(self, line: str) -> None:
        """Move the line of a terminal; elsewhere nothing is said."""
        if self._status:
            self._status.update(cell(line))
