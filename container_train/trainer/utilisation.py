"""How busy the machine is while a job trains: a thread looks at CPU, memory, disk and GPU once a second.

Run by `trainer.profiler`. The CPU's and the disk's figures come from the time and the bytes that the system
has counted for this process and its children since the look before; the GPU's from the driver, by NVML.
"""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import psutil
import pynvml
import torch

from trainer.cpus import cpu_limit

_MOST = 1200  # samples that are kept: more are merged in pairs
_HOLD = 10  # samples between two looks at what children do not share, 1.3 ms a GB

FIGURES: Mapping[str, Callable[[tuple[float, float]], float]] = MappingProxyType(
    {  # name → how two neighbouring samples become one
        "seconds": max,
        "cpu": statistics.fmean,
        "memory_gb": max,
        "disk_read_mb": statistics.fmean,
        "disk_write_mb": statistics.fmean,
        "gpu": statistics.fmean,
        "gpu_memory_gb": max,
    }
)


class Sampler:
    """A thread that looks every `interval` seconds, and half as often whenever it has `most` samples.

    It ends with the process, and what it cannot look at is left out: nothing reaches the training.
    """

    def __init__(self, device: torch.device, *, interval: float = 1.0, most: int = _MOST) -> None:
        self._interval, self._most = interval, most
        self._begun = time.perf_counter()
        self._processes = ProcessTree()
        cuda = device.type == "cuda"
        self._gpu = find_gpu(str(torch.cuda.get_device_properties(device).uuid)) if cuda else None
        self._samples: list[list[float]] = []  # in the order of FIGURES; without a GPU it has two fewer
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="utilisation", daemon=True)

    @property
    def seconds(self) -> float:
        """The samples' clock: how long ago this was made."""
        return round(time.perf_counter() - self._begun, 3)

    def start(self) -> None:
        """Begin to look; only once."""
        self._thread.start()

    def stop(self) -> None:
        """End within 0.2 s."""
        self._stopped.set()
        self._thread.join(0.2)

    def as_dict(self) -> dict[str, list[float]]:
        """Figure → its values: seconds by its clock, percent of this process's CPUs, GB (10⁹ bytes), MB/s.

        Of the GPU, percent and GB; empty where nothing can be told about one.
        """
        samples = self._samples
        return {
            name: [sample[place] for sample in samples if place < len(sample)]
            for place, name in enumerate(FIGURES)
        }

    def _run(self) -> None:
        self._look()  # what the first sample is measured from
        while not self._stopped.wait(self._interval):
            self._look()

    def _look(self) -> None:
        with contextlib.suppress(psutil.Error, OSError, pynvml.NVMLError):  # this sample is left out
            if used := self._processes.look():
                gpu = gpu_use(self._gpu) if self._gpu else ()
                self._keep([round(figure, 3) for figure in (self.seconds, *used, *gpu)])

    def _keep(self, sample: list[float]) -> None:
        self._samples.append(sample)
        if len(self._samples) >= self._most:
            pairs = zip(self._samples[::2], self._samples[1::2], strict=False)
            self._samples = [_merged(*pair) for pair in pairs]
            self._interval *= 2


def _merged(earlier: list[float], later: list[float]) -> list[float]:
    figures = zip(FIGURES.values(), earlier, later, strict=False)
    return [round(merge((before, after)), 3) for merge, before, after in figures]


class _Counts(NamedTuple):
    """What the system has counted for a process since it began: CPU seconds, bytes read and written."""

    cpu: float = 0.0
    read: int = 0
    written: int = 0


def _difference(after: _Counts, before: _Counts) -> _Counts:
    return _Counts(after.cpu - before.cpu, after.read - before.read, after.written - before.written)


class ProcessTree:
    """This process and its children, loaders among them, and what they have used since the last look."""

    def __init__(self) -> None:
        self._me, self._cpus = psutil.Process(), cpu_limit()
        self._counts_disk = hasattr(self._me, "io_counters")
        self._counted: dict[psutil.Process, _Counts] = {}
        self._own_memory: dict[psutil.Process, int] = {}  # bytes that a child shares with nobody
        self._when = 0.0
        self._looks = 0  # how often

    def look(self) -> tuple[float, float, float, float] | None:
        """CPU (percent), memory (GB), disk reads and writes (MB/s) since the last look; `None` at the first.

        Raises `psutil.Error` and `OSError`.
        """
        now = time.perf_counter()
        children = self._me.children(recursive=True)
        counted = self._count(children)
        # A process that is new has done all of its work since the last look; one that has gone, no more.
        before = self._counted
        spent = [_difference(counts, before.get(process, _Counts())) for process, counts in counted.items()]
        cpu, read, written = (sum(figures) for figures in zip(*spent, strict=True))
        memory = self._memory(children)
        seconds, first = now - self._when, self._looks == 0
        self._counted, self._when, self._looks = counted, now, self._looks + 1
        if first:
            return None
        share = min(100.0, 100 * cpu / seconds / self._cpus)
        return share, memory / 1e9, read / seconds / 1e6, written / seconds / 1e6

    def _count(self, children: list[psutil.Process]) -> dict[psutil.Process, _Counts]:
        result = {self._me: self._counts(self._me)}
        for child in children:
            with contextlib.suppress(psutil.Error):  # it has just ended
                result[child] = self._counts(child)
        return result

    def _counts(self, process: psutil.Process) -> _Counts:
        times = process.cpu_times()
        if self._counts_disk:
            disk: Any = process.io_counters()
        else:  # a system that counts for the whole machine only
            disk = psutil.disk_io_counters() if process == self._me else None
        return _Counts(
            times.user + times.system, disk.read_bytes if disk else 0, disk.write_bytes if disk else 0
        )

    def _memory(self, children: list[psutil.Process]) -> int:
        """Resident bytes: this process's, and what its children have besides.

        A loader begins as a copy of this process that shares its pages, so a sum of resident memory would
        count them again for each. What a child shares with nobody takes the kernel longer to tell, so it is
        asked now and then.
        """
        if self._looks % _HOLD == 0:
            self._own_memory = {}
        known, self._own_memory = self._own_memory, {}
        for child in children:
            with contextlib.suppress(psutil.Error):  # it has just ended
                self._own_memory[child] = known[child] if child in known else child.memory_full_info().uss
        return self._me.memory_info().rss + sum(self._own_memory.values())


def find_gpu(uuid: str) -> Any:
    """NVML's handle of the GPU with this UUID, as PyTorch names it; `None` where NVML does not tell its use.

    Their numbers differ where CUDA_VISIBLE_DEVICES chooses. Of a part of a GPU (MIG) no use is told.
    """
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}")
        gpu_use(handle)
    except pynvml.NVMLError:
        return None
    return handle


def gpu_use(handle: Any) -> tuple[float, float]:
    """Percent of the last moments that the GPU computed, and its memory in use, GB; raises `NVMLError`."""
    busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
    return float(busy), pynvml.nvmlDeviceGetMemoryInfo(handle).used / 1e9
