"""SIGTERM as a program sees it: at once where nothing is lost, deferred where work must be put down first.

Made by `trainer.failures.run_program`, handed to the entry script's program. Standard library only.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN_SECONDS = 0.02


class Terminated(BaseException):
    """SIGTERM arrived: the platform stops the job."""


class Stop:
    """Whether the platform has asked the program to stop.

    The first SIGTERM raises `Terminated` in the main thread, or only sets `requested` inside `deferred`.
    Once raised, further ones do nothing: what is being put down is not disturbed. An import is finished
    first: cut in half it leaves a broken module, and libraries swallow what is raised inside.
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
        """Receive SIGTERM inside, and SIGALRM as its echo; main thread only.

        Leaving brings the handlers before them back, or after a stop has further signals ignored: the
        process is ending, and a second one must not turn that into a death by signal.
        """
        before = {number: signal.signal(number, self._arrive) for number in (signal.SIGTERM, signal.SIGALRM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if self.requested else handler)

    def _arrive(self, signal_number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked child: nobody there listens, it ends as any process
            signal.signal(signal_number, signal.SIG_DFL)
            os.kill(os.getpid(), signal_number)
            return
        self.requested = True
        if self._deferrals or self._raised:
            return
        if _importing(frame):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        else:
            self.check()


def _importing(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None
