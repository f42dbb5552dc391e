"""The photographs: fetching Udacity's dogImages.zip, and telling whether a folder can be trained on.

Called by `prepare_data.py`, and by whatever takes a DATA folder from a person, before a container is started.
An archive from the network is not trusted: see `ArchiveLimits` and `_check_member`.
"""

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from launcher import pictures
from launcher.downloads import ANYTHING, Expected, byte_progress, download
from launcher.errors import SettingsError, WorkFailed
from launcher.folders import appearing, exclusive, require_space

SPLITS = ("train", "valid", "test")
DOG_IMAGES_URL = "https://s3-us-west-1.amazonaws.com/udacity-aind/dog-project/dogImages.zip"
DOG_IMAGES_CLASSES = 133
DOG_IMAGES = Expected(min_bytes=1_000_000_000, max_bytes=1_300_000_000)  # about 1.1 GB
JUNK_NAMES = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}


class DatasetError(SettingsError):
    """A folder is not a data set; the message says what is wrong and what would be right."""


class ArchiveError(WorkFailed):
    """An archive is damaged, not to be trusted, or holds something else."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder with train/, valid/ and test/, each with one folder of pictures per class."""

    root: Path
    classes: tuple[str, ...]
    files: dict[str, int]  # by split

    def __str__(self) -> str:
        """Describe the set in one line."""
        counts = ", ".join(f"{self.files[split]:,} {split}" for split in SPLITS)
        return f"{self.root}: {len(self.classes)} classes, {counts} files"


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may unpack to before it is taken for a bomb."""

    files: int = 100_000
    total_bytes: int = 8_000_000_000
    ratio: float = 50.0  # unpacked : packed, of one file; photographs are near 1


LIMITS = ArchiveLimits()


def read_image_folder(root: Path) -> ImageFolder:
    """Check that a folder has the three splits with the same classes, none of them empty.

    Raises DatasetError naming what is missing and where; reads no picture.
    """
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise DatasetError(f"the data folder {root} {problem}. {_LAYOUT}")
    counts = {split: _count_pictures(root / split) for split in SPLITS}
    classes = counts["train"].keys()
    for split in SPLITS:
        if odd := sorted(counts[split].keys() ^ classes):
            absent = [name for name in odd if name in classes]
            problem = f"lacks {_some(absent)}" if absent else f"has {_some(odd)}, which train lacks"
            raise DatasetError(f"{root / split} {problem}: every split needs the same classes")
        if empty := sorted(name for name, number in counts[split].items() if number == 0):
            raise DatasetError(
                f"{root / split} has no pictures for {_some(empty)}: add some or remove the class"
            )
    require_utf8(root, classes, "those of a model's classes")
    return ImageFolder(
        root, tuple(sorted(classes)), {split: sum(numbers.values()) for split, numbers in counts.items()}
    )


_LAYOUT = "It needs train/, valid/ and test/, each with one folder of pictures per class."


def require_utf8(root: Path, names: Collection[str], whose: str) -> None:
    """Raise DatasetError for names in a folder that are bytes of another encoding than `whose` have."""
    shown = {os.fsencode(name).decode("utf-8", "backslashreplace") for name in names}
    if misnamed := sorted(shown - set(names)):
        raise DatasetError(
            f"{root} has names that are not UTF-8, as {whose} are: {_some(misnamed)}. "
            f"Rename them; where they are Latin-1, convmv -r -f latin1 -t utf8 --notest {root} does"
        )


def _count_pictures(split: Path) -> dict[str, int]:
    """Return the number of pictures of each class of a split, in folders of folders as well."""
    if not split.is_dir():
        raise DatasetError(f"{split} is missing. {_LAYOUT}")
    counts = {
        folder.name: sum(1 for _ in pictures.below(folder))
        for folder in split.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    }
    if not counts:
        raise DatasetError(f"{split} has no class folders. {_LAYOUT}")
    return counts


def _some(names: list[str]) -> str:
    """List a few names, and say how many there are beyond them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def fetch_dog_images(
    url: str, output: Path, *, classes: int = DOG_IMAGES_CLASSES, pause_seconds: float = 1.0
) -> tuple[ImageFolder, bool]:
    """Make `output` the unpacked archive; return it and whether there was anything to do.

    The archive is removed once it is unpacked, and also when it is damaged, so that the next run fetches it
    again. Raises DatasetError, ArchiveError, downloads.DownloadError or folders.SpaceError.
    """
    with exclusive(output.parent):
        if output.exists():
            return _check_classes(_explained(output), classes), False
        archive = output.with_name(output.name + ".zip")
        if not archive.exists():
            expected = DOG_IMAGES if url == DOG_IMAGES_URL else ANYTHING
            download(url, archive, expected=expected, space_factor=2.1, pause_seconds=pause_seconds)
        try:
            with appearing(output) as hidden:
                unpack(archive, hidden)
                _lift_splits(hidden)
                _check_classes(read_image_folder(hidden), classes)
        except (ArchiveError, DatasetError) as error:
            archive.unlink()
            raise ArchiveError(f"the archive from {url} was thrown away: {error}") from error
        archive.unlink()
        return read_image_folder(output), True


def _explained(output: Path) -> ImageFolder:
    """Read a folder that was there before; one that is no data set is the person's to move away."""
    try:
        return read_image_folder(output)
    except DatasetError as error:
        raise DatasetError(
            f"{output} is there but is no data set ({error}). Move it away or choose another --output"
        ) from error


def _check_classes(images: ImageFolder, classes: int) -> ImageFolder:
    """Raise DatasetError unless the set has that many classes."""
    if len(images.classes) != classes:
        raise DatasetError(f"{images.root} has {len(images.classes)} classes, not {classes}")
    return images


def _lift_splits(folder: Path) -> None:
    """Move the splits to the top when the archive wraps them in a folder of their own (dogImages/)."""
    inner = [entry for entry in folder.iterdir() if entry.is_dir()]
    if len(inner) == 1 and inner[0].name not in SPLITS:
        for entry in inner[0].iterdir():
            entry.rename(folder / entry.name)
        inner[0].rmdir()


def unpack(archive: Path, folder: Path, limits: ArchiveLimits = LIMITS) -> None:
    """Unpack a zip archive into a folder, refusing whatever could write elsewhere or fill the disk.

    Every entry is checked before the first byte is written. Raises ArchiveError or folders.SpaceError.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = list(_wanted_members(opened, limits))
            total = sum(member.file_size for member in members)
            require_space(folder, total)
            with byte_progress() as progress:
                task = progress.add_task("unpacking", total=total)
                for member in members:
                    _write_member(opened, member, folder)
                    progress.advance(task, member.file_size)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeError, zlib.error) as error:
        raise ArchiveError(f"{archive.name} is damaged or no zip archive: {error}") from error


def _wanted_members(archive: zipfile.ZipFile, limits: ArchiveLimits) -> Iterator[zipfile.ZipInfo]:
    """Yield the files to unpack; raise ArchiveError on the first entry that is not to be trusted."""
    seen: set[PurePosixPath] = set()
    total = 0
    for member in archive.infolist():
        path = PurePosixPath(member.filename)
        if JUNK_NAMES.intersection(path.parts) or path.name.startswith("._"):
            continue
        if problem := _untrusted(member, limits):
            raise ArchiveError(f"refusing to unpack {member.filename!r}: {problem}")
        if member.is_dir():
            continue
        total += member.file_size
        if path in seen:
            raise ArchiveError(f"refusing to unpack {member.filename!r}: the name comes twice")
        seen.add(path)
        if len(seen) > limits.files or total > limits.total_bytes:
            raise ArchiveError(
                f"refusing to unpack more than {limits.files:,} files or {limits.total_bytes / 1e9:.1f} GB"
            )
        yield member


def _untrusted(member: zipfile.ZipInfo, limits: ArchiveLimits) -> str:
    """Say why an entry must not be unpacked, or return "" for a plain file or folder inside the archive."""
    path = PurePosixPath(member.filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in member.filename
        or ":" in path.parts[0]
    ):
        return "the name leads out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a link or a device"
    if member.flag_bits & 0x1:
        return "it is encrypted"
    if member.file_size > limits.ratio * max(member.compress_size, 1 << 14):
        return f"{member.compress_size:,} bytes that unpack to {member.file_size:,} are a bomb"
    return ""


def _write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Write one checked file; zipfile reads no more than the announced size and checks the CRC."""
    target = folder / PurePosixPath(member.filename)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 18)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArchiveError(
            f"refusing to unpack {member.filename!r}: it is a file and a folder at once"
        ) from error
