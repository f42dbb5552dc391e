"""Which pictures make which batch, and the two ways to load them: from files and from the feature cache.

Everything random is a function of seed, epoch and sample, so no state has to be saved: a run that continues,
or that is spread over several processes, sees the very batches of one that does not. Called by the job.
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainer.cpus import process_share
from trainer.data import RobustImageFolder
from trainer.features import Features
from trainer.views import MEAN, STD, Views

Request = list[tuple[int, int]]  # (sample, number of its view), one of each picture of a batch
Batch = tuple[Tensor, Tensor]  # inputs, targets

_MOST_WORKERS = 16
_MEAN, _STD = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)


@dataclass(frozen=True)
class Plan:
    """The batches of training: `batch_size` pictures a step over all ranks, in a new order every epoch.

    `views` is how many views of a picture epochs draw from, 0 a new one in every epoch. The last batch of
    an epoch may be smaller. Rank r gets pictures r, r + ranks, … of each batch, the last time perhaps none.
    """

    samples: int
    batch_size: int
    seed: int
    views: int = 1
    rank: int = 0
    ranks: int = 1

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.samples // self.batch_size)

    def size(self, step: int) -> int:
        """Pictures in batch `step`, from 0, of all ranks together."""
        return min(self.batch_size, self.samples - step * self.batch_size)

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[list[tuple[int, int]]]:
        """This rank's part of each batch of epoch 1, 2, …, from `first_step` on."""
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(self.samples)
        drawn = random.integers(0, self.views, self.samples) if self.views else np.full(self.samples, epoch)
        for step in range(first_step, self.steps):
            start = step * self.batch_size
            mine = order[start : start + self.batch_size][self.rank :: self.ranks]
            yield [(int(sample), int(drawn[sample])) for sample in mine]


def in_order(samples: int, *, batch_size: int, rank: int = 0, ranks: int = 1) -> list[list[tuple[int, int]]]:
    """The centre view of every sample of this rank, once."""
    mine = [(sample, 0) for sample in range(rank, samples, ranks)]
    return [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]


class Source(Protocol):
    """Where the batches of a split come from."""

    def __len__(self) -> int: ...

    def load(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """The requested batches, on the CPU; an empty request gives an empty batch."""
        ...

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        """A batch's inputs on the device, as the network takes them."""
        ...


class FeatureBatches:
    """Batches of cached features (N, width) float32; `views` holds `Features` by the number of their view."""

    def __init__(self, views: Mapping[int, Features], targets: Sequence[int]) -> None:
        self.views = views
        self.targets = torch.tensor(targets)

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """Read the rows of each request."""
        for request in requests:
            samples = [sample for sample, _ in request]
            yield self._rows(request, samples), self.targets[samples]

    def _rows(self, request: Request, samples: list[int]) -> Tensor:
        if len(self.views) == 1:
            (only,) = self.views.values()
            return only.rows(samples)
        rows = [self.views[number].rows([sample]) for sample, number in request]
        return torch.cat(rows) if rows else next(iter(self.views.values())).rows([])

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        """To the device."""
        return inputs.to(device, non_blocking=True)


class ImageBatches:
    """Batches of pictures, decoded and cropped in `workers` processes: pixels (N, S, S, 3) uint8.

    Pixels travel as bytes, a quarter of what normalised pictures need, and are normalised where
    they arrive.
    """

    def __init__(self, folder: RobustImageFolder, views: Views, *, workers: int, batch_size: int) -> None:
        side = views.size.crop
        workers = worker_count(workers, batch_bytes=batch_size * side * side * 3)
        self.folder = folder
        self._requests = _Requests()
        self._loader: DataLoader[Any] = DataLoader(
            _Pictures(folder, views),
            batch_sampler=self._requests,
            collate_fn=_Collate(side),
            num_workers=workers,
            worker_init_fn=_obey_only_parent,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
        )

    def __len__(self) -> int:
        return len(self.folder)

    def load(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """Decode the pictures of each request."""
        self._requests.current = requests
        with _sigterm_held():
            batches = iter(self._loader)
        yield from batches

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        """To the device, normalised."""
        return normalise(inputs.to(device, non_blocking=True))


def normalise(pixels: Tensor) -> Tensor:
    """Pixels (N, S, S, 3) uint8 → (N, 3, S, S) float32 with ImageNet's mean and deviation, channels last."""
    mean, std = _MEAN.to(pixels.device), _STD.to(pixels.device)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def worker_count(wanted: int, *, batch_bytes: int) -> int:
    """How many loader processes to start: -1 is one for each CPU of this process, at most 16.

    Batches travel through shared memory, of which a container has 64 MiB unless told otherwise, and
    a worker that finds it full dies with a bus error: so no more workers than five batches each fit.
    """
    if wanted < 0:
        wanted = min(_MOST_WORKERS, process_share(os.environ))
    fitting = shutil.disk_usage("/dev/shm").free // (5 * batch_bytes)  # noqa: S108
    if fitting < wanted:
        print(
            f"using {fitting} loader processes instead of {wanted}: /dev/shm is too small for more "
            "(docker run --shm-size=2g)",
            file=sys.stderr,
        )
    return min(wanted, fitting)


@contextmanager
def _sigterm_held() -> Iterator[None]:
    """SIGTERM waits inside; to processes that are started meanwhile it stays blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey_only_parent(worker: int) -> None:
    """A stop of the whole process group is the parent's to answer; only its own SIGTERM ends a worker."""
    threading.Thread(target=_end_when_told_by, args=(os.getppid(),), daemon=True).start()


def _end_when_told_by(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        continue
    os._exit(0)


class _Requests:
    """The batch sampler of a loader whose processes live longer than an epoch."""

    current: Iterable[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.current)


class _Pictures(Dataset[tuple[npt.NDArray[np.uint8], int]]):
    """(sample, view) → pixels and target."""

    def __init__(self, folder: RobustImageFolder, views: Views) -> None:
        self.folder = folder
        self.targets = folder.targets
        self.views = views

    def __getitem__(self, request: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], int]:
        sample, number = request
        digest = self.folder.digests[sample]
        pixels = self.views.pixels(self.folder.read(sample), digest=digest, number=number)
        return pixels, self.targets[sample]


class _Collate:
    """Stack pictures of a known side, also none of them."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, pictures: Sequence[tuple[npt.NDArray[np.uint8], int]]) -> Batch:
        pixels = torch.empty(len(pictures), self.side, self.side, 3, dtype=torch.uint8)
        for place, (picture, _) in enumerate(pictures):
            pixels[place] = torch.from_numpy(picture.copy())
        return pixels, torch.tensor([target for _, target in pictures], dtype=torch.long)
