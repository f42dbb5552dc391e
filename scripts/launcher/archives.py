"""model.tar.gz, packed after a training job and unpacked before serving; a job's output.tar.gz.

Called by `jobs`, `hosting`, `job_output` and `model_source` of the launcher. An archive may come from
anywhere, so nothing in it is believed: Python 3.11.2, which Debian 12 ships, has no extraction filters yet.
"""

import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from launcher.errors import WorkFailed

MAX_BYTES = 8 * 1024**3
MAX_MEMBERS = 10_000
MAX_READ_BYTES = 16 * 1024**2  # of a file that is held in memory
MAX_NAME_BYTES = 64 * 1024


class _Header(tarfile.TarInfo):
    """A header that refuses a long name of absurd length, which tarfile would read into memory whole."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if not self.isfile() and self.size > MAX_NAME_BYTES:
            raise tarfile.ReadError("a name or an attribute in it is too long")
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]


def pack(folder: Path, archive: Path) -> None:
    """Pack a folder's files; the same content gives the same bytes, and a whole archive or none.

    Raises WorkFailed for anything but plain files and folders.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=archive.parent, prefix=f".{archive.name}.")
    try:
        # Level 1: weights hardly compress, and a higher level takes many times as long.
        with (
            os.fdopen(handle, "wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=1) as zipped,
            tarfile.open(fileobj=zipped, mode="w") as tar,
        ):
            for path in sorted(folder.rglob("*")):
                _add(tar, path, path.relative_to(folder).as_posix())
        Path(partial).chmod(0o644)
        Path(partial).replace(archive)
    finally:
        Path(partial).unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    status = path.lstat()
    member = tarfile.TarInfo(name)
    if stat.S_ISDIR(status.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    elif stat.S_ISREG(status.st_mode):
        member.size, member.mode = status.st_size, 0o644
        with path.open("rb") as file:
            tar.addfile(member, file)
    else:
        raise WorkFailed(f"{path} is neither a file nor a folder: a model consists of plain files")


def unpack(
    archive: Path, folder: Path, *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS
) -> None:
    """Unpack into an existing folder; nothing outside it is ever written.

    Raises WorkFailed for a path that leads elsewhere, a link, a device, or an archive that is broken or too
    large. Sizes are checked against the headers before a member's bytes are read, so a bomb costs nothing.
    """
    try:
        with tarfile.open(archive, mode="r:gz", tarinfo=_Header) as tar:
            _extract(tar, folder, max_bytes, max_members)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WorkFailed(f"{archive} is not a whole {archive.name}: {error}") from None


def read(stream: IO[bytes], name: str) -> bytes:
    """Return one file of an archive that comes as a stream, which is read no further than that.

    Raises WorkFailed where there is none of the name, and for an archive that is broken.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|gz", tarinfo=_Header) as tar:
            for member in tar:
                # `tar -C folder .` puts ./ before every name.
                source = (
                    tar.extractfile(member) if PurePosixPath(member.name) == PurePosixPath(name) else None
                )
                if source is not None:
                    return source.read(MAX_READ_BYTES)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WorkFailed(f"the archive that should have {name} is not a whole one: {error}") from None
    raise WorkFailed(f"there is no {name} in the archive")


def _extract(tar: tarfile.TarFile, folder: Path, max_bytes: int, max_members: int) -> None:
    total = 0
    for count, member in enumerate(tar, start=1):
        total += member.size
        if count > max_members or total > max_bytes:
            raise WorkFailed(f"the archive unpacks to more than {max_members} files or {max_bytes:,} bytes")
        target = folder / _inside(member)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(member)
            _write(target, source, member)


def _inside(member: tarfile.TarInfo) -> PurePosixPath:
    """Return the member's path if it is a plain file or folder below the target; raise WorkFailed if not."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise WorkFailed(f"the archive's member {member.name!r} leads outside its folder")
    if not (member.isreg() or member.isdir()):
        raise WorkFailed(f"the archive's member {member.name!r} is a link or a device, not a plain file")
    return path


def _write(target: Path, source: IO[bytes] | None, member: tarfile.TarInfo) -> None:
    if source is None or target.exists():
        raise WorkFailed(f"the archive holds {member.name!r} twice")
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file)
