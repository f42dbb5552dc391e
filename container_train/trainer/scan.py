"""The one look at every picture file before training: what is in it, and whether it can be decoded.

Called by `trainer.data`. What was found is remembered in `scan.sqlite`, so that the next job on the
same files looks only at what has changed.
"""

import fcntl
import hashlib
import os
import sqlite3
import sys
import time
import zlib
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from trainer.cpus import cpu_share
from trainer.images import UnreadableError, decode, read_file

_Result = TypeVar("_Result")
_Stamp = tuple[int, int, int]
_Row = tuple[bytes, int, int, int, bytes, str | None, int]

_BATCH = 256  # files that wait for a thread at a time: a queue of all of them would take memory
_SAVE_EVERY = 0.5  # seconds: what a killed scan loses
_RULES = 3  # what is said of a file by other rules is not believed; count up when `trainer.images` changes
_KEPT = 4  # of each path: so many data sets that are mounted at the same place in turn are remembered
_NO_FILE = (-1, -1, -1)
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_TABLE = """CREATE TABLE IF NOT EXISTS scanned (
    file BLOB, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, digest BLOB, reason TEXT, seal INTEGER,
    PRIMARY KEY (file, size, mtime_ns, ctime_ns)
) WITHOUT ROWID"""
_SELECT = "SELECT * FROM scanned WHERE file BETWEEN ? AND ?"
_INSERT = "INSERT OR REPLACE INTO scanned VALUES (?, ?, ?, ?, ?, ?, ?)"

_FORGET = f"""DELETE FROM scanned WHERE file = ? AND (size, mtime_ns, ctime_ns) NOT IN (
    SELECT size, mtime_ns, ctime_ns FROM scanned WHERE file = ? ORDER BY ctime_ns DESC LIMIT {_KEPT}
)"""  # noqa: S608 - a number of ours


@dataclass(frozen=True, slots=True)
class Scanned:
    """What is in a file: the SHA-256 of its content (32 bytes), and why it is no readable picture.

    The digest is empty where the content could not be read or not be judged.
    """

    digest: bytes
    reason: str | None


def scan(files: Sequence[str], *, root: Path, cache: Path | None, label: str) -> list[Scanned]:
    """Read and decode each file once, on all processors; `files` are paths relative to `root`.

    With a `cache` folder, a file whose path, size and times of change are those of an earlier scan is
    not read again. Several processes may share the folder, and may be killed at any time. A
    cache that cannot be used is reported on stderr and done without.
    """
    stamps = _Stamps(root, files)
    with closing(_Memory(cache)) as memory:
        found = memory.recall(files, stamps)
        missing = array("q", (index for index, scanned in enumerate(found) if scanned is None))
        with closing(_look_at(files, missing, root=root, label=label)) as looked:
            for index, scanned in looked:
                found[index] = scanned
                if scanned.digest:  # of a file that changes meanwhile, the stamp will never be seen again
                    memory.remember(files[index], stamps[index], scanned)
    return [scanned for scanned in found if scanned is not None]


def _look_at(
    files: Sequence[str], missing: Sequence[int], *, root: Path, label: str
) -> Generator[tuple[int, Scanned], None, None]:
    """Decoding and hashing release the GIL, so threads do. When this is closed, what waits is dropped."""

    def look(index: int) -> Scanned:
        return _scan_file(root / files[index])

    with (
        ThreadPoolExecutor(max_workers=cpu_share(os.environ)) as pool,
        tqdm(total=len(missing), desc=label, unit="file", disable=None) as progress,
    ):
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            for index, scanned in zip(batch, pool.map(look, batch), strict=True):
                progress.update()
                yield index, scanned


def _scan_file(path: Path) -> Scanned:
    digest = b""
    try:
        content = read_file(path)
        digest = hashlib.sha256(content).digest()
        decode(content)
    except UnreadableError as error:
        return Scanned(digest, str(error))
    except MemoryError:  # without a digest it is not remembered: next time there may be enough
        return Scanned(b"", "there was not enough memory to decode it")
    return Scanned(digest, None)


def _stamp(root: Path, file: str) -> _Stamp:
    """Size and times that change when the file does; a change of its permissions is in the second time."""
    try:
        status = os.stat(f"{root}/{file}")  # noqa: PTH116 - making the Path takes longer than asking
    except OSError:
        return _NO_FILE
    far = 1 << 63  # SQLite's integers end in the year 2262, a file's times do not
    return status.st_size, status.st_mtime_ns % far, status.st_ctime_ns % far


class _Stamps:
    """The stamps of all files, in 24 bytes each."""

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self._numbers = array("q")
        for file in files:
            self._numbers.extend(_stamp(root, file))

    def __getitem__(self, index: int) -> _Stamp:
        size, modified, changed = self._numbers[3 * index : 3 * index + 3]
        return size, modified, changed


class _Memory:
    """`scan.sqlite`: opened for each use, and only under a lock, so that nobody has a replaced file open.

    Without a folder it remembers nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._usable = folder is not None
        self._file = (folder or Path()) / "scan.sqlite"
        self._unsaved: list[_Row] = []
        self._saved_at = time.monotonic()

    def recall(self, files: Sequence[str], stamps: _Stamps) -> list[Scanned | None]:
        """What was found in each file that is as it was."""
        places = {file: index for index, file in enumerate(files)}

        def select(connection: sqlite3.Connection) -> list[Scanned | None]:
            bounds = min(map(os.fsencode, files)), max(map(os.fsencode, files))
            found: list[Scanned | None] = [None] * len(files)
            for *row, seal in connection.execute(_SELECT, bounds):
                if seal != _seal(row):
                    continue  # the disk has changed it: the file is looked at again
                name, *stamp, digest, reason = row
                place = places.get(os.fsdecode(name))
                if place is not None and stamps[place] == tuple(stamp):
                    found[place] = Scanned(digest, reason)
            return found

        return self._use(select, otherwise=[None] * len(files)) if files else []

    def remember(self, file: str, stamp: _Stamp, scanned: Scanned) -> None:
        """Keep what was found; it is saved now and then, and when this is closed."""
        row = (os.fsencode(file), *stamp, scanned.digest, scanned.reason)
        self._unsaved.append((*row, _seal(row)))
        if time.monotonic() - self._saved_at > _SAVE_EVERY:
            self.close()

    def close(self) -> None:
        """Save what is not saved yet."""
        rows, self._unsaved, self._saved_at = self._unsaved, [], time.monotonic()

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany(_INSERT, rows)
            connection.executemany(_FORGET, ((row[0], row[0]) for row in rows))

        if rows:
            self._use(insert, otherwise=None)

    def _use(self, work: Callable[[sqlite3.Connection], _Result], *, otherwise: _Result) -> _Result:
        if not self._usable:
            return otherwise
        try:
            with self._lock():
                try:
                    return self._connected(work)
                except (sqlite3.Error, UnicodeDecodeError) as error:
                    if not _is_damage(error):
                        raise
                    print(f"{self._file} is damaged and is made anew", file=sys.stderr)
                    self._remove()
                    return self._connected(work)
        except (OSError, sqlite3.Error) as error:
            self._usable = False
            print(
                f"what is found in the pictures is not remembered in {self._file}: {error}", file=sys.stderr
            )
            return otherwise

    def _connected(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        with closing(sqlite3.connect(self._file, timeout=60)) as connection, connection:
            connection.execute(_TABLE)
            return work(connection)

    def _remove(self) -> None:
        self._file.unlink(missing_ok=True)
        self._file.with_name(f"{self._file.name}-journal").unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One process at a time; the system lets go of the lock of one that is killed."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _seal(row: Sequence[object]) -> int:
    """A checksum, which SQLite has none of, and which is another one by other rules."""
    return zlib.crc32(repr([_RULES, *row]).encode())


def _is_damage(error: Exception) -> bool:
    """A text that is no UTF-8 is Python's own error and has no code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGED
