"""Pictures → features of a frozen backbone, by the fastest way that the machine has.

On a processor OpenVINO, one picture and one thread a stream: several times faster than PyTorch, and a feature
depends on nothing but its picture. On a GPU PyTorch, in batches. Called by the job for what the cache lacks.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from trainer.backbones import Classifier
from trainer.conversion import compile_network, convert
from trainer.data import RobustImageFolder
from trainer.distributed import Group
from trainer.failures import NO_SPACE, DiskError
from trainer.features import Features, FeatureTable
from trainer.loading import ImageBatches, normalise
from trainer.metrics import write_metrics
from trainer.moments import Rows, rows_of
from trainer.pieces import by_halves
from trainer.views import Pixels, Views

Array = npt.NDArray[np.float32]
# Places of pictures, their features, and the moments of some of them as the network took them.
Extracted = Iterator[tuple[list[int], Array, Rows]]
_Result = TypeVar("_Result")
Extractor = Callable[[RobustImageFolder, Sequence[int], int], Extracted]

_AHEAD = 16  # pictures a thread that may be done or begun before the one that comes next
_GPU_BATCH = 256
_MEASURED = 100  # pictures whose moments are taken on a processor, a millisecond each
_OF_A_BATCH = 16  # on a GPU, whose memory may be nearly full
_REPORT_SECONDS = 30.0


class FromPixels(nn.Module):
    """A classifier's features (N, features) from pixels (N, S, S, 3) uint8."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def inputs(self, pixels: Tensor) -> Tensor:
        """What the first layer takes: normalised pictures."""
        return normalise(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise, then all layers up to the head."""
        return self.model.extract(self.inputs(pixels))


def processor_extractor(
    model: Classifier, views: Views, *, precision: torch.dtype, threads: int
) -> Extractor:
    """Features with OpenVINO, computed in `precision` (float32 or bfloat16)."""
    shape = [1, views.size.crop, views.size.crop, 3]
    whole = FromPixels(model.cpu())
    network = convert(whole, torch.zeros(shape, dtype=torch.uint8), shape=shape)
    compiled = compile_network(network, precision=precision, threads=threads)
    requests: SimpleQueue[Any] = SimpleQueue()
    for _ in range(threads):
        requests.put(compiled.create_infer_request())

    def answer(pixels: Pixels) -> Array:
        request = requests.get()
        try:
            request.infer({0: pixels[None]})
            feature: Array = request.get_output_tensor(0).data[0].copy()
        finally:
            requests.put(request)
        return feature

    def extract(folder: RobustImageFolder, indices: Sequence[int], number: int) -> Extracted:
        measured = frozenset(indices[:: 1 + len(indices) // _MEASURED])
        nothing = torch.empty(0, *shape[1:])

        def one(index: int) -> tuple[Array, Rows]:
            pixels = views.pixels(folder.read(index), digest=folder.digests[index], number=number)
            taken = torch.from_numpy(pixels.copy())[None] if index in measured else nothing
            return answer(pixels), rows_of(whole.inputs(taken))

        for index, (feature, moments) in zip(indices, _in_order(one, indices, threads=threads), strict=True):
            yield [index], feature[None], moments

    return extract


def gpu_extractor(
    model: Classifier, views: Views, *, device: torch.device, precision: torch.dtype, workers: int
) -> Extractor:
    """Features with PyTorch on `device`, in batches, smaller ones where its memory is small."""
    model = model.to(device).to(memory_format=torch.channels_last).eval()

    def extract(folder: RobustImageFolder, indices: Sequence[int], number: int) -> Extracted:
        batches = ImageBatches(folder, views, workers=workers, batch_size=_GPU_BATCH)
        pieces = list(_pieces(indices, _GPU_BATCH))
        requests = ([(index, number) for index in piece] for piece in pieces)
        for piece, (pixels, _) in zip(pieces, batches.load(requests), strict=True):
            with (
                torch.inference_mode(),
                torch.autocast(device.type, precision, enabled=precision != torch.float32),
            ):
                inputs = batches.prepare(pixels, device)
                features = by_halves(model.extract, inputs).float().cpu().numpy()
                moments = rows_of(inputs[:_OF_A_BATCH])
            yield piece, features, moments  # outside: the caller would run in inference mode as well

    return extract


def ensure_features(
    table: FeatureTable,
    folder: RobustImageFolder,
    number: int,
    *,
    build: Callable[[], Extractor],
    group: Group,
) -> Features:
    """The features of view `number` of all pictures, computed where the table lacks them.

    `build` makes the extractor, which takes seconds and is often not needed. The processes that train
    together share the work; those of one host share the table, and hosts send each other what they made.
    """
    lacking = len(table.missing(folder.digests))
    everywhere = torch.tensor([float(lacking)])
    group.sum(everywhere)
    if everywhere.item():
        # One lock for all: hosts may share a cache, and would wait for each other.
        with _room(table, lacking), table.computing() if group.is_main else nullcontext():
            group.barrier()
            _compute(table, folder, number, build=build, group=group)
            group.barrier()
            _exchange(table, group)
            if group.local_rank == 0:
                table.merge()
            group.barrier()
        table.refresh()
    return table.features(folder.digests)


@contextmanager
def _room(table: FeatureTable, pictures: int) -> Iterator[None]:
    """Say of a table whose disk is full how much it needs, and what helps."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE or Path(error.filename or "").parent != table.folder:
            raise
        needed = f"{pictures:,} x {table.width:,} x 4 bytes = {pictures * table.width * 4 / 1e6:,.1f} MB"
        raise DiskError(
            f"{error.strerror}: the features of {pictures:,} pictures need {needed} in {table.folder}; "
            "put the cache on another disk (--cache or TRAINER_CACHE_DIR), give the job a larger one "
            "(--volume-gb), or do without (--feature-cache false)"
        ) from error


def _compute(
    table: FeatureTable,
    folder: RobustImageFolder,
    number: int,
    *,
    build: Callable[[], Extractor],
    group: Group,
) -> None:
    """Compute this process's part of what the table lacks."""
    table.refresh()
    missing = [place for place in table.missing(folder.digests) if place % group.size == group.rank]
    if not missing:
        return
    label = f"features of {folder.root.name}" + (f", view {number}" if number else "")
    extract = build()
    started = time.monotonic()
    extracted = _with_progress(extract(folder, missing, number), total=len(missing), label=label)
    taken: list[Rows] = []
    try:
        table.add(_noting(extracted, folder.digests, taken))
    finally:
        if taken and group.local_rank == 0:
            table.note(np.concatenate(taken))
    rate = len(missing) / (time.monotonic() - started)
    print(f"{label}: {len(missing):,} pictures, {rate:.0f} img/s", file=sys.stderr)
    if group.is_main:
        write_metrics({"extract:images_per_second": rate})


def _noting(
    extracted: Extracted, digests: Sequence[bytes], taken: list[Rows]
) -> Iterator[tuple[list[bytes], Array]]:
    """Digests and features, as a table takes them; moments go to `taken`."""
    for piece, features, moments in extracted:
        taken.append(moments)
        yield [digests[place] for place in piece], features


def _exchange(table: FeatureTable, group: Group) -> None:
    """Give every host the shards of every other."""
    if group.size == group.local_size:
        return
    for source in range(0, group.size, group.local_size):
        mine = table.shards() if group.rank == source else iter(())
        while True:
            own_name, own_content = next(mine, ("", b""))
            name = group.exchange_bytes(own_name.encode(), source=source).decode()
            if not name:
                break
            content = group.exchange_bytes(own_content, source=source)
            if group.local_rank == 0:
                table.take_file(name, content)


def _with_progress(extracted: Extracted, *, total: int, label: str) -> Extracted:
    """The same, with pictures per second and the time left: a bar on a terminal, else a line now and then."""
    started = reported = time.monotonic()
    done = 0
    with tqdm(total=total, desc=label, unit="img", disable=None, file=sys.stderr, leave=False) as bar:
        for piece, features, moments in extracted:
            yield piece, features, moments
            done += len(piece)
            bar.update(len(piece))
            now = time.monotonic()
            if bar.disable and now - reported > _REPORT_SECONDS:
                reported = now
                print(_progress_line(label, done, total, now - started), file=sys.stderr, flush=True)


def _progress_line(label: str, done: int, total: int, seconds: float) -> str:
    rate = done / seconds
    return f"{label}: {done:,} of {total:,}, {rate:.0f} img/s, {(total - done) / rate / 60:.1f} min left"


def _in_order(work: Callable[[int], _Result], indices: Iterable[int], *, threads: int) -> Iterator[_Result]:
    """What `work` makes of each, in their order, computed by threads that never wait for one another.

    Ended early, it waits for what is being computed at that moment and for nothing else.
    """
    pool = ThreadPoolExecutor(threads)
    remaining = iter(indices)
    try:
        ahead = deque(pool.submit(work, index) for index in islice(remaining, _AHEAD * threads))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(work, index) for index in islice(remaining, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _pieces(indices: Iterable[int], size: int) -> Iterator[list[int]]:
    remaining = iter(indices)
    while piece := list(islice(remaining, size)):
        yield piece
