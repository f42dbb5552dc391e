"""Starts child processes and waits for them and for signals. Called by `predictor.supervisor`.

Signals are blocked and waited for instead of handled, so that nothing runs in between and none is lost.
Every child leads a process group of its own, and every orphan below comes back here to be reaped:
a container's first process has to do that, and outside a container it keeps workers from staying behind.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h
_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@dataclass(frozen=True)
class Ended:
    """A child has ended with this exit code; negative: by this signal."""

    process: int
    code: int


@dataclass(frozen=True)
class StopRequested:
    """Somebody asked this process to stop."""

    signal: signal.Signals


class Children:
    """The processes started inside its `with` block; all of them are gone after it."""

    def __init__(self) -> None:
        """Start with no children."""
        self._ended: dict[int, int] = {}
        self._groups: list[int] = []

    def __enter__(self) -> "Children":
        """Block the signals that are waited for, and adopt orphans."""
        ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOP_SIGNALS, signal.SIGCHLD})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill and reap whatever is left of every group."""
        for group in self._groups:
            self._kill(group)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start `argv` (an absolute program) in a process group of its own; returns its process id."""
        process = os.posix_spawn(argv[0], list(argv), environment, setpgroup=0, setsigmask=[])
        self._groups.append(process)
        return process

    def wait(self, *processes: int, timeout: float) -> Ended | StopRequested | None:
        """Wait until one of `processes` ends or a stop is requested; None after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            self._reap()
            for process in processes:
                if process in self._ended:
                    return Ended(process, self._ended[process])
            received = self._next_signal(deadline)
            if received is None:
                return None
            if received in _STOP_SIGNALS:
                return StopRequested(received)

    def stop(self, process: int, *, grace: float, request: signal.Signals = signal.SIGTERM) -> None:
        """Ask `process` by a signal to end; kill its group after `grace` seconds, or when it has ended."""
        self._reap()
        if process not in self._ended:
            os.kill(process, request)
        deadline = time.monotonic() + grace
        while not isinstance(self.wait(process, timeout=max(0.0, deadline - time.monotonic())), Ended | None):
            pass  # a second request to stop does not make it faster
        self._kill(process)

    @staticmethod
    def _next_signal(deadline: float) -> signal.Signals | None:
        watched = {*_STOP_SIGNALS, signal.SIGCHLD}
        received = signal.sigtimedwait(watched, max(0.0, deadline - time.monotonic()))
        # Stopped for longer than the timeout and continued, CPython returns what no signal has filled in.
        if received is None or received.si_signo not in watched:
            return None
        return signal.Signals(received.si_signo)

    def _reap(self) -> None:
        """Collect every child and adopted orphan that has ended."""
        with contextlib.suppress(ChildProcessError):  # no children at all
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._ended[found[0]] = os.waitstatus_to_exitcode(found[1])

    def _kill(self, group: int) -> None:
        """Kill a process group and wait until none of it is left."""
        with contextlib.suppress(ProcessLookupError):  # raised once the group is gone
            while True:
                os.killpg(group, signal.SIGKILL)
                time.sleep(0.005)
                self._reap()
