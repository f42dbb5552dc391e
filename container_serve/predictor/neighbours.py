"""How many workers of this server are answering: whether one may take more than a CPU of its own.

Called by `inference.py` and `predictor.model` in every worker. While a worker answers, it holds the lock of
one byte of a file that all share, the byte of its process id. The kernel gives the lock back however the
worker ends, so nobody is counted who is gone.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from predictor.cpus import cpu_limit
from predictor.readiness import FOLDER_VARIABLE

_BEYOND = 2**31  # of every process id
_LOCK = "hhqqi0q"  # Linux's `struct flock` on 64 bits: type, whence, start, length, process


class Neighbours:
    """The workers that share a server's CPUs, this one among them; one object in each process."""

    def __init__(self, file: Path, *, cpus: int) -> None:
        self._file = file.open("wb")  # POSIX locks belong to a process, and go with any handle it closes
        self._cpus = cpus

    @classmethod
    def of_supervisor(cls) -> "Neighbours | None":
        """Those that the supervisor started; None where this process runs without one."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(folder).with_name("answering"), cpus=cpu_limit()) if folder else None

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Be counted by the others while inside."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, os.getpid())
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, os.getpid())

    def leave_room(self, threads: int) -> bool:
        """Whether the CPUs suffice if this one and each that is answering takes `threads`."""
        return threads * (1 + self._count(0, _BEYOND)) <= self._cpus

    def _count(self, first: int, beyond: int) -> int:
        """How many bytes of the range others have locked."""
        if first >= beyond:
            return 0
        question = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, first, beyond - first, 0)
        kind, _, found, _, _ = struct.unpack(_LOCK, fcntl.fcntl(self._file, fcntl.F_GETLK, question))
        if kind == fcntl.F_UNLCK:
            return 0
        return 1 + self._count(first, found) + self._count(found + 1, beyond)
