"""The picture folders of a job: checked once, completely, before anything is trained on.

`RobustImageFolder` is one split (`train/<class>/<picture>`); `load_splits` reads the job's splits, holds
them against each other and reports what a person should know about them. Called by the job, and by
`trainer.loading` for the pictures.
"""

import csv
import hashlib
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from PIL import Image

from trainer.failures import DataError
from trainer.images import EXTENSIONS, UnreadableError, decode, read_file
from trainer.packed import PackedBytes, PackedTexts
from trainer.scan import scan

_SHOWN = 3
_UNBALANCED = 3  # times as many pictures in the largest class as in the smallest


@dataclass(frozen=True)
class Unreadable:
    """A file that is left out, relative to the split's parent folder, and why."""

    file: str
    reason: str


class RobustImageFolder:
    """One split as `torchvision.datasets.ImageFolder` reads it, without its unreadable files.

    Every file is decoded once when the folder is opened, or was by an earlier job with the same
    `cache` folder. Those that cannot be decoded are in `quarantined` and in no sample; those that are not
    named like pictures are in `ignored`. A sample is a
    file (relative to the split's parent folder), its class index in `targets`, and the SHA-256 of its
    content in `digests`; no picture stays in memory.

    Raises `DataError` when the folder, its classes or their pictures are missing.
    """

    def __init__(self, root: Path, *, cache: Path | None = None) -> None:
        self.root = root
        self.classes = _find_classes(root)
        files: list[str] = []
        targets: list[int] = []
        self.ignored: list[str] = []
        for target, name in enumerate(self.classes):
            named, others = _find_pictures(root, name)
            files += named
            self.ignored += others
            targets += [target] * (len(files) - len(targets))
        found = scan(files, root=root.parent, cache=cache, label=f"checking {root.name}")
        good = [scanned.reason is None for scanned in found]
        self.files: Sequence[str] = PackedTexts(compress(files, good))
        self.targets: Sequence[int] = array("i", compress(targets, good))
        self.digests: Sequence[bytes] = PackedBytes(scanned.digest for scanned in compress(found, good))
        self.quarantined = [
            Unreadable(file, scanned.reason)
            for file, scanned in zip(files, found, strict=True)
            if scanned.reason is not None
        ]

    @property
    def samples(self) -> list[tuple[Path, int]]:
        """Every sample's path and class index; made anew at each use, to keep the object small."""
        return [
            (self.root.parent / file, target) for file, target in zip(self.files, self.targets, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> Image.Image:
        """A sample as an upright RGB picture.

        Raises `DataError` when its file is not what it was when the folder was opened.
        """
        path = self.root.parent / self.files[index]
        try:
            content = read_file(path)
            picture = decode(content)
        except UnreadableError as error:
            raise DataError(
                f"{path} could be read when the job started and no longer can ({error}); "
                "do not change the data while a job runs"
            ) from error
        if hashlib.sha256(content).digest() != self.digests[index]:
            raise DataError(
                f"{path} is another picture than when the job started; "
                "do not change the data while a job runs"
            )
        return picture

    def require_readable(self, max_unreadable: float) -> None:
        """Raise `DataError` when a larger share (0 to 1) than that is unreadable, or all of a class."""
        bad, total = len(self.quarantined), len(self.files) + len(self.quarantined)
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
    folder: Path, names: Sequence[str], *, max_unreadable: float, reports: Path | None, cache: Path | None
) -> dict[str, RobustImageFolder]:
    """Open the named splits of a data folder, the one that is trained on first.

    Into the folder `reports` go quarantine.csv (files left out, and why), duplicates.csv (content that
    stands more than once) and classes.csv (pictures of each class and split); what a person should look
    at is said on stderr. A process beside the one that writes has no such folder. Raises `DataError` when
    a split is missing, has other classes than the first, or too many unreadable files.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no data folder {folder}; pass the channel `training`, or --data DIR, "
            f"with {_some([f'{name}/' for name in names])} in it"
        )
    _check_same_classes(folder, names)
    splits = {name: RobustImageFolder(folder / name, cache=cache) for name in names}
    duplicates: _Duplicates = {}
    if reports:
        duplicates = _find_duplicates(splits)
        reports.mkdir(parents=True, exist_ok=True)
        _write_quarantine(reports / "quarantine.csv", splits)
        _write_duplicates(reports / "duplicates.csv", duplicates)
        _write_classes(reports / "classes.csv", splits)
    for split in splits.values():
        split.require_readable(max_unreadable)
    if reports:
        for remark in _remarks(splits, duplicates, trained_on=names[0]):
            print(remark, file=sys.stderr)
    return splits


@dataclass(frozen=True)
class _Place:
    """One of the places where the same content stands."""

    split: str
    label: str
    file: str


_Duplicates = Mapping[bytes, Sequence[_Place]]


def _find_duplicates(splits: Mapping[str, RobustImageFolder]) -> _Duplicates:
    """The places of each content that stands more than once, by its digest."""
    seen: set[bytes] = set()
    repeated: dict[bytes, list[_Place]] = {}
    for split in splits.values():
        for digest in split.digests:
            if digest in seen:
                repeated[digest] = []
            seen.add(digest)
    for name, split in splits.items():
        for digest, file, target in zip(split.digests, split.files, split.targets, strict=True):
            if digest in repeated:
                repeated[digest].append(_Place(name, split.classes[target], file))
    return repeated


def _splits_of(places: Iterable[_Place]) -> set[str]:
    return {place.split for place in places}


def _labels_of(places: Iterable[_Place]) -> set[str]:
    return {place.label for place in places}


def _write_quarantine(path: Path, splits: Mapping[str, RobustImageFolder]) -> None:
    rows = ((bad.file, bad.reason) for split in splits.values() for bad in split.quarantined)
    _write_csv(path, ["file", "reason"], rows)


def _write_duplicates(path: Path, duplicates: _Duplicates) -> None:
    """What stands in several splits comes first, then what stands in several classes."""
    worst_first = sorted(
        duplicates.items(), key=lambda entry: (-len(_splits_of(entry[1])), -len(_labels_of(entry[1])))
    )
    rows = (
        (digest.hex(), len(_splits_of(places)), len(_labels_of(places)), place.split, place.file)
        for digest, places in worst_first
        for place in places
    )
    _write_csv(path, ["digest", "splits", "classes", "split", "file"], rows)


def _write_classes(path: Path, splits: Mapping[str, RobustImageFolder]) -> None:
    names = next(iter(splits.values())).classes
    counts = [Counter(split.targets) for split in splits.values()]
    rows = ((name, *(count[target] for count in counts)) for target, name in enumerate(names))
    _write_csv(path, ["class", *splits], rows)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    # A file's name may be any bytes; those that are no UTF-8 are escaped.
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)


def _remarks(
    splits: Mapping[str, RobustImageFolder], duplicates: _Duplicates, *, trained_on: str
) -> Iterable[str]:
    """What a person should look at before the results are believed, a line each."""
    quarantined = [bad for split in splits.values() for bad in split.quarantined]
    if quarantined:
        yield f"left out {len(quarantined)} unreadable file(s): {_listed(quarantined)}"
    ignored = [file for split in splits.values() for file in split.ignored]
    if ignored:
        yield f"ignored {len(ignored)} file(s) whose names are not those of pictures: {_some(ignored)}"
    shared = Counter(
        place.split
        for places in duplicates.values()
        if trained_on in _splits_of(places)
        for place in places
        if place.split != trained_on
    )
    if shared:
        counts = " and ".join(f"{count} picture(s) of {name}" for name, count in shared.items())
        yield f"{counts} are also in {trained_on}: accuracy on them flatters (see duplicates.csv)"
    contradictory = sum(len(_labels_of(places)) > 1 for places in duplicates.values())
    if contradictory:
        yield f"{contradictory} picture(s) stand in more than one class (see duplicates.csv)"
    yield from _imbalance(splits[trained_on], trained_on)


def _imbalance(split: RobustImageFolder, name: str) -> Iterable[str]:
    ranked = Counter(split.targets).most_common()
    (most, large), (least, small) = ranked[0], ranked[-1]
    if large > _UNBALANCED * small:
        yield (
            f"the classes of {name} are unbalanced: {large} pictures of {split.classes[most]}, "
            f"{small} of {split.classes[least]} (see classes.csv)"
        )


def _find_classes(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; the data needs {root.name}/<class>/<pictures>")
    classes = sorted(
        entry.name for entry in _entries(root) if entry.is_dir() and not entry.name.startswith(".")
    )
    if not classes:
        raise DataError(f"{root} has no class folders; it needs one folder of pictures for each class")
    return classes


def _find_pictures(root: Path, name: str) -> tuple[list[str], list[str]]:
    """The files of a class folder and the folders in it, in order: named like pictures, and otherwise.

    Paths are relative to the split's parent folder.
    """
    named: list[str] = []
    ignored: list[str] = []
    for file in _walk(root.parent, f"{root.name}/{name}"):
        (named if Path(file).suffix.lower() in EXTENSIONS else ignored).append(file)
    if not named:
        known = ", ".join(sorted(EXTENSIONS))
        raise DataError(
            f"the class folder {root / name} is empty; put pictures into it ({known}) or remove it"
        )
    return sorted(named, key=lambda file: file.replace("/", "\0")), sorted(ignored)  # folder by folder


def _walk(parent: Path, folder: str, within: frozenset[str] = frozenset()) -> Iterator[str]:
    """What is below a folder and not hidden, through links to folders as well, but never in circles.

    A folder itself only where it is named like a picture, to be told of.
    """
    here = os.path.realpath(parent / folder)
    if here in within:
        return
    for entry in _entries(parent / folder):
        path = f"{folder}/{entry.name}"
        is_folder = _is_folder(entry)
        if is_folder:
            yield from _walk(parent, path, within | {here})
        is_picture = Path(entry.name).suffix.lower() in EXTENSIONS
        if not entry.name.startswith(".") and (is_picture or not is_folder):
            yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """`entry.is_dir()` would raise an error for a link to itself."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir())


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be listed: {error.strerror}; "
            f"make it readable for user {os.geteuid()}, or remove it"
        ) from error


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
