"""The picture folders of a job: checked once, completely, before anything is trained on.

`RobustImageFolder` is one split (`train/<class>/<picture>`); `load_splits` reads the job's splits
and holds them against each other; `make_loader` feeds them to the engine.
"""

import csv
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from trainer.failures import DataError
from trainer.images import EXTENSIONS, read_image, why_unreadable

Transform = Callable[..., Tensor]
Batches = DataLoader[tuple[Tensor, int]]

_SHOWN = 3


@dataclass(frozen=True)
class Unreadable:
    """A file that is left out, relative to the split's parent folder, and why."""

    file: str
    reason: str


class RobustImageFolder(Dataset[tuple[Tensor, int]]):
    """One split as `torchvision.datasets.ImageFolder` reads it, without its unreadable files.

    Every file is decoded once when the folder is opened. Those that cannot be decoded are in
    `quarantined` and in no sample. Items are `(transform(picture), class index)`.

    Raises `DataError` when the folder, its classes or their pictures are missing.
    """

    def __init__(self, root: Path, transform: Transform) -> None:
        self.root = root
        self.transform = transform
        self.classes = _find_classes(root)
        found = [
            (path, target) for target, name in enumerate(self.classes) for path in _find_pictures(root / name)
        ]
        reasons = _scan([path for path, _ in found], label=f"checking {root.name}")
        self.samples = [sample for sample, reason in zip(found, reasons, strict=True) if reason is None]
        self.quarantined = [
            Unreadable(self.relative(path), reason)
            for (path, _), reason in zip(found, reasons, strict=True)
            if reason is not None
        ]

    @property
    def targets(self) -> list[int]:
        """The class index of every sample."""
        return [target for _, target in self.samples]

    @property
    def files(self) -> list[str]:
        """Every sample's path, relative to the split's parent folder."""
        return [self.relative(path) for path, _ in self.samples]

    def relative(self, path: Path) -> str:
        """`test/001.Affenpinscher/a.jpg`."""
        return path.relative_to(self.root.parent).as_posix()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, target = self.samples[index]
        try:
            image = read_image(path)
        except OSError as error:
            raise DataError(
                f"{path} could be read when the job started and no longer can ({error}); "
                "do not change the data while a job runs"
            ) from error
        return self.transform(image), target

    def require_readable(self, max_unreadable: float) -> None:
        """Raise `DataError` when a larger share (0 to 1) than that is unreadable, or all of a class."""
        bad, total = len(self.quarantined), len(self.samples) + len(self.quarantined)
        if bad > max_unreadable * total:
            raise DataError(_too_many(self.root, self.quarantined, total, max_unreadable))
        left = set(self.targets)
        empty = [name for target, name in enumerate(self.classes) if target not in left]
        if empty:
            raise DataError(
                f"none of the pictures of {_some(empty)} in {self.root} can be read; "
                "replace the pictures or remove the class from every split"
            )


def load_splits(
    folder: Path, transforms: dict[str, Transform], *, max_unreadable: float, quarantine_file: Path
) -> dict[str, RobustImageFolder]:
    """Open the named splits of a data folder and write down which files were left out.

    Raises `DataError` when a split is missing, has other classes than the first, or too many
    unreadable files.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no data folder {folder}; pass the channel `training`, or --data DIR, "
            f"with {_some([f'{name}/' for name in transforms])} in it"
        )
    _check_same_classes(folder, list(transforms))
    splits = {name: RobustImageFolder(folder / name, transform) for name, transform in transforms.items()}
    quarantined = [file for split in splits.values() for file in split.quarantined]
    write_quarantine(quarantine_file, quarantined)
    for split in splits.values():
        split.require_readable(max_unreadable)
    if quarantined:
        print(f"left out {len(quarantined)} unreadable file(s): {_listed(quarantined)}", file=sys.stderr)
    return splits


def write_quarantine(path: Path, files: Iterable[Unreadable]) -> None:
    """Write `quarantine.csv`: file, reason."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "reason"])
        writer.writerows((file.file, file.reason) for file in files)


def make_loader(
    split: RobustImageFolder, *, batch_size: int, workers: int, seed: int, shuffle: bool
) -> Batches:
    """Batches of a split; the same seed and number of workers give the same batches."""
    crop = split[0][0]
    workers = worker_count(workers, batch_bytes=batch_size * crop.nbytes)
    return DataLoader(
        split,
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=workers,
        generator=torch.Generator().manual_seed(seed),
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def worker_count(wanted: int, *, batch_bytes: int) -> int:
    """How many loader processes to start: -1 is one per processor, at most 8.

    Batches travel through shared memory, of which a container has 64 MiB unless told otherwise, and
    a worker that finds it full dies with a bus error: so no more workers than two batches each fit.
    """
    if wanted < 0:
        wanted = min(8, len(os.sched_getaffinity(0)))
    fitting = shutil.disk_usage("/dev/shm").free // (3 * batch_bytes)  # noqa: S108
    if fitting < wanted:
        print(
            f"using {fitting} loader processes instead of {wanted}: /dev/shm is too small for more "
            "(docker run --shm-size=2g)",
            file=sys.stderr,
        )
    return min(wanted, fitting)


def _find_classes(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; the data needs {root.name}/<class>/<pictures>")
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if not classes:
        raise DataError(f"{root} has no class folders; it needs one folder of pictures for each class")
    return classes


def _find_pictures(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    pictures = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not pictures:
        known = ", ".join(sorted(EXTENSIONS))
        raise DataError(f"the class folder {folder} is empty; put pictures into it ({known}) or remove it")
    return pictures


def _scan(paths: Sequence[Path], *, label: str) -> list[str | None]:
    """Why each file is unreadable, or `None`; decoding releases the GIL, so threads do."""
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        reasons = pool.map(why_unreadable, paths)
        return list(tqdm(reasons, total=len(paths), desc=label, unit="file", disable=None))


def _too_many(root: Path, quarantined: Sequence[Unreadable], total: int, allowed: float) -> str:
    shown = _listed(quarantined)
    if len(quarantined) == total:
        return f"none of the {total} files in {root} can be read as a picture: {shown}"
    return (
        f"{len(quarantined)} of the {total} files in {root} cannot be read, more than max-unreadable "
        f"{allowed:g} allows: {shown}; replace them, or raise max-unreadable"
    )


def _check_same_classes(folder: Path, names: Sequence[str]) -> None:
    reference, *others = names
    expected = set(_find_classes(folder / reference))
    for name in others:
        classes = set(_find_classes(folder / name))
        missing, extra = sorted(expected - classes), sorted(classes - expected)
        if missing or extra:
            differences = [f"{_some(missing)} missing"] if missing else []
            differences += [f"{_some(extra)} only there"] if extra else []
            raise DataError(
                f"{folder / name} has other classes than {folder / reference}: "
                f"{', '.join(differences)}; every split needs the same class folders"
            )


def _listed(files: Sequence[Unreadable]) -> str:
    return _some([f"{file.file} ({file.reason})" for file in files])


def _some(items: Sequence[str]) -> str:
    rest = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
