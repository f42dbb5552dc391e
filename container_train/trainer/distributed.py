"""The processes that train one model together, and what they say to each other.

The job opens the group; engine, features and job use it. torchrun starts the processes (see
`toolkit_entry`), one a GPU, on CPUs one a host. When one of them fails, the others end as well: those of
other hosts with its reason, those of its own host silently, because torchrun reports it there.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import psutil

from trainer.failures import TrainerError
from trainer.termination import Terminated

if TYPE_CHECKING:
    from torch import Tensor

TIMEOUT = timedelta(minutes=10)
_ARRIVAL = 120.0  # seconds: torchrun starts all ranks at one time, only their imports differ
_EXPLANATION = 5.0  # seconds for the reason of a broken connection to become known
_POLL = 0.05
_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}


class GroupError(TrainerError):
    """Another of the processes that train together failed, or cannot be reached."""


class _Peers:
    """What the processes know of each other besides tensors: who runs where, and why one of them left.

    Kept in the key-value store that torchrun serves on the first host.
    """

    def __init__(self, environment: Mapping[str, str], *, timeout: timedelta) -> None:
        import torch.distributed as dist  # noqa: PLC0415 - seconds

        self.rank, self.size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        self.node = environment.get("GROUP_RANK", "0")
        served_by_torchrun = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        store = dist.TCPStore(  # type: ignore[attr-defined]
            environment["MASTER_ADDR"],
            int(environment["MASTER_PORT"]),
            is_master=self.rank == 0 and not served_by_torchrun,
            wait_for_workers=False,
            timeout=timeout,
        )
        self.store = dist.PrefixStore("trainer", store)  # type: ignore[attr-defined]
        self.local_processes: dict[int, int] = {}
        self.hosts: dict[str, str] = {}  # the name of each other host by its address

    def meet(self) -> None:
        """Wait until all are there, in Python: a stop is heard meanwhile, inside a collective it is not."""
        address = ""
        with suppress(OSError):  # a machine that does not know itself; then the others cannot name it
            address = socket.gethostbyname(socket.gethostname())
        about = [self.node, os.getpid(), socket.gethostname(), address]
        self.store.set(f"process/{self.rank}", json.dumps(about))
        names = [f"process/{rank}" for rank in range(self.size)]
        deadline = time.monotonic() + _ARRIVAL
        while not self.store.check(names):
            if self._reason() is not None:
                raise self.explain(None)
            if time.monotonic() > deadline:
                absent = [rank for rank, name in enumerate(names) if not self.store.check([name])]
                raise GroupError(
                    f"of {self.size} training processes these did not start within {_ARRIVAL:.0f} s: rank "
                    f"{', '.join(map(str, absent))}; the logs of their hosts say why"
                )
            time.sleep(_POLL)
        for rank, value in enumerate(self.store.multi_get(names)):
            node, process, host, address = json.loads(value)
            if node != self.node:
                self.hosts[address] = host
            elif rank != self.rank:
                self.local_processes[rank] = process

    def leave(self, error: BaseException) -> None:
        """Tell the others why this process leaves early; the first reason is the one that counts."""
        dead = self._dead()
        if not isinstance(error, Terminated):
            text = str(error) if isinstance(error, TrainerError) else f"{type(error).__name__}: {error}"
            reason = self._describe(self.rank, f"failed: {text}")
        elif dead is not None:  # torchrun stops this process because of that one
            reason = self._describe(dead, "ended without a word, most often killed for lack of memory")
        else:
            reason = ""
        with suppress(RuntimeError):  # the first host, which keeps the store, is gone: nobody is left to tell
            self.store.compare_set("reason", "", json.dumps([self.node, reason]))
        if reason and self.size > len(self.local_processes) + 1:
            time.sleep(1)  # the store may end with this host; the others read the reason before

    def explain(self, error: RuntimeError | None) -> BaseException:
        """What a broken connection means here, as the exception to end with."""
        deadline = time.monotonic() + _EXPLANATION
        while True:
            reason = self._reason()
            if reason is not None or self._dead() is not None or time.monotonic() > deadline:
                break
            time.sleep(_POLL)
        if reason is None and self._dead() is None:
            return GroupError(self._blame(str(error)))
        node, text = reason or (self.node, "another rank of this host ended")
        if text and node != self.node:
            return GroupError(text)
        if text:
            print(f"rank {self.rank} ends: {text}", file=sys.stderr, flush=True)
        return Terminated()

    def _reason(self) -> tuple[str, str] | None:
        """Node of the process that left first, and why; the empty text is a stop by SIGTERM."""
        try:
            if self.store.check(["reason"]):
                node, text = json.loads(self.store.get("reason"))
                return node, text
        except RuntimeError as error:  # the first host, which keeps the store, is gone
            return "", f"the first of the training hosts has ended ({str(error).partition(chr(10))[0]})"
        return None

    def _blame(self, message: str) -> str:
        """What can be said of a process that nobody saw end: where it was, by the address in `message`."""
        named = [name for address, name in self.hosts.items() if f"[{address}]:" in message]
        host = named[0] if named else "another host"
        return (
            f"a training process on {host} ended without a word, most often killed for lack of memory; "
            f"its failure file and log say more (rank {self.rank}: {message.partition('. ')[0]})"
        )

    def _dead(self) -> int | None:
        return next((rank for rank, pid in self.local_processes.items() if not psutil.pid_exists(pid)), None)

    def _describe(self, rank: int, what: str) -> str:
        return f"rank {rank} on host {socket.gethostname()} {what}"


@dataclass(frozen=True)
class Group:
    """The processes that train together; alone unless `process_group` made it.

    Its methods are collective: every rank calls the same ones in the same order. They raise `GroupError`
    when a process of another host failed, and `Terminated` when one of this host did or the job is stopped.
    SIGTERM is not heard inside a wait; it ends when a rank that has heard it leaves.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    _peers: _Peers | None = field(default=None, repr=False, compare=False)

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes."""
        return self.rank == 0

    def sum(self, tensor: "Tensor") -> None:
        """Replace `tensor` by its sum over all ranks, in place."""
        if self._peers is None:
            return
        import torch.distributed as dist  # noqa: PLC0415 - seconds

        with self._together():
            dist.all_reduce(tensor)

    def gather_rows(self, rows: "Tensor") -> "Tensor":
        """The whole, (n, …), in order on every rank, where rank r holds its rows r, r + size, r + 2·size, ….

        Raises `ValueError` when the rows of this rank are not as many as that.
        """
        if self._peers is None:
            return rows
        import torch  # noqa: PLC0415 - seconds
        import torch.distributed as dist  # noqa: PLC0415 - seconds

        count = torch.tensor(len(rows), device=rows.device)
        self.sum(count)
        total = int(count)
        expected = len(range(self.rank, total, self.size))
        if len(rows) != expected:
            raise ValueError(
                f"rank {self.rank} of {self.size} holds {len(rows)} of {total} rows, not {expected}"
            )
        longest = -(-total // self.size)
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        gathered = rows.new_empty((self.size * longest, *rows.shape[1:]))
        with self._together():
            dist.all_gather_single(gathered, padded)
        by_rank = gathered.view(self.size, longest, *rows.shape[1:])
        return by_rank.transpose(0, 1).reshape(gathered.shape)[:total]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self._peers is None:
            return
        import torch  # noqa: PLC0415 - seconds

        self.sum(torch.zeros(1))

    def exchange_bytes(self, data: bytes | None, *, source: int) -> bytes:
        """The `data` of rank `source`, on every rank; what the others give is not looked at.

        For hundreds of MB at most: twice that in memory for a moment.
        """
        if self._peers is None:
            return data or b""
        import torch  # noqa: PLC0415 - seconds
        import torch.distributed as dist  # noqa: PLC0415 - seconds

        given = (data or b"") if self.rank == source else b""
        length = torch.tensor(len(given))
        with self._together():
            dist.broadcast(length, src=source)
            content = bytearray(given or int(length))
            if content:
                dist.broadcast(torch.frombuffer(content, dtype=torch.uint8), src=source)
        return bytes(content)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Turn a broken connection into its reason."""
        try:
            yield
        except RuntimeError as error:
            assert self._peers is not None  # noqa: S101 - alone, nothing is sent
            raise self._peers.explain(error) from error


ALONE = Group()


@contextmanager
def process_group(
    environment: Mapping[str, str], *, device_type: Literal["cpu", "cuda"], timeout: timedelta = TIMEOUT
) -> Iterator[Group]:
    """The group that torchrun started this process in, read from its variables; `ALONE` without them.

    `timeout` bounds one wait of a rank for the others, so it must be longer than the longest work that one
    rank does alone. A process that dies breaks its connections, which the others notice at once.
    Leaving waits for all ranks, so that none ends well while another fails. Raises `GroupError`.
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    import torch  # noqa: PLC0415 - seconds
    import torch.distributed as dist  # noqa: PLC0415 - seconds

    peers = _Peers(environment, timeout=timeout)
    local_rank = int(environment.get("LOCAL_RANK", "0"))
    group = Group(peers.rank, peers.size, local_rank, int(environment.get("LOCAL_WORLD_SIZE", "1")), peers)
    try:
        peers.meet()
        if device_type == "cuda":
            torch.cuda.set_device(local_rank)
        with group._together():
            dist.init_process_group(
                _BACKENDS[device_type],
                store=dist.PrefixStore("collectives", peers.store),  # type: ignore[attr-defined]
                rank=group.rank,
                world_size=group.size,
                timeout=timeout,
            )
        yield group
        group.barrier()
    except BaseException as error:
        _record(error)
        peers.leave(error)
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _record(error: BaseException) -> None:
    """Hand a defect's traceback to torchrun, for the failure file; other endings say enough themselves."""
    if not isinstance(error, Exception) or isinstance(error, TrainerError):
        return
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler  # noqa: PLC0415

        get_error_handler().record_exception(error)
