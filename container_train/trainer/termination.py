"""SIGTERM as a program sees it: at once where nothing is lost, deferred where work must be put down first.

Made by `trainer.failures.run_program`, handed to the entry script's program. Standard library only.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM arrived: the platform stops the job."""


class Stop:
    """Whether the platform has asked the program to stop.

    The first SIGTERM raises `Terminated` in the main thread, or only sets `requested` inside `deferred`.
    Once raised, further ones do nothing: what is being put down is not disturbed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._raised = False
        self._deferrals = 0
        self._process = os.getpid()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, SIGTERM only sets `requested`; leaving does not raise by itself. May be nested."""
        self._deferrals += 1
        try:
            yield
        finally:
            self._deferrals -= 1

    def check(self) -> None:
        """Raise `Terminated` when a stop was requested."""
        if self.requested:
            self._raised = True
            raise Terminated

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Receive SIGTERM inside; main thread only.

        Leaving brings the handler before it back, or after a stop has further signals ignored: the
        process is ending, and a second one must not turn that into a death by signal.
        """
        before = signal.signal(signal.SIGTERM, self._arrive)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN if self.requested else before)

    def _arrive(self, signal_number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked child: nobody there listens, it ends as any process
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self.requested = True
        if not self._deferrals and not self._raised:
            self.check()
