"""The frozen-feature cache: what a frozen backbone makes of a view of a picture, computed once and kept.

A `FeatureTable` is a folder for one backbone, one view and one precision; its rows are found by the SHA-256
of the picture's content, so any later run on any subset, in any order and under any class names finds them.

    <cache>/features/<backbone>-<digest of what identifies the table>/
    ├── table.json                           what identifies it, for people
    ├── inputs.json                          how large the numbers were that the backbone took
    ├── features-<SHA-256, 16 digits>.npy    shards: records (digest, feature), never changed
    └── lock                                 held by the process that is computing

A shard is written under another name and renamed, so it is there completely or not at all, and its name
proves its bytes. Its index is in its own records: nothing can go stale. Called by the job.
"""

import fcntl
import hashlib
import json
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.download import file_sha256
from trainer.moments import FILE as MOMENTS
from trainer.moments import Moments, Rows, read_moments

Array = npt.NDArray[np.float32]
Records = npt.NDArray[np.void]

DIGEST_BYTES = 32
_MERGED_ROWS = 16_384  # of a merged shard: few enough to be computed again in a minute, should it be damaged
_OPEN_SHARDS = 128  # small ones at most: each that is open takes a file descriptor, often of 1,024
_FLUSH_SECONDS = 2.0  # what a kill costs at most
_LEFT_OVER_SECONDS = 3600.0


@dataclass(frozen=True)
class Features:
    """The features of some pictures in a fixed order, read from the shards row by row."""

    shards: Sequence[Records]
    shard_of: npt.NDArray[np.int32]
    row_of: npt.NDArray[np.int32]
    width: int
    inputs: Moments | None = None  # of the pictures as the backbone took them; unknown of old features

    def __len__(self) -> int:
        return len(self.row_of)

    def rows(self, indices: Sequence[int]) -> Tensor:
        """Features (n, width) float32 of the pictures at these places."""
        found = np.empty((len(indices), self.width), np.float32)
        for place, index in enumerate(indices):
            found[place] = self.shards[self.shard_of[index]]["feature"][self.row_of[index]]
        return torch.from_numpy(found)


class FeatureTable:
    """Features (width,) by content digest, in a folder that several processes share."""

    def __init__(self, cache: Path, *, backbone: str, width: int, identity: Mapping[str, Any]) -> None:
        text = json.dumps({"backbone": backbone, **identity}, sort_keys=True)
        name = f"{backbone.replace(':', '-')}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.folder = cache / "features" / name
        self.width = width
        self._description = text.encode() + b"\n"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._verified: dict[str, Records] = {}
        self.refresh()

    @property
    def record(self) -> np.dtype[Any]:
        """One row of a shard."""
        return np.dtype([("digest", np.uint8, (DIGEST_BYTES,)), ("feature", np.float32, (self.width,))])

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """The places of the digests, each digest once, that have no feature yet."""
        shard_of, _ = self._locate(digests)
        first: dict[bytes, int] = {}
        for place in np.flatnonzero(shard_of < 0).tolist():
            first.setdefault(digests[place], place)
        return list(first.values())

    def features(self, digests: Sequence[bytes]) -> Features:
        """The features of these pictures, in their order; raises `KeyError` when one is missing."""
        shard_of, row_of = self._locate(digests)
        if (shard_of < 0).any():
            raise KeyError(f"{int((shard_of < 0).sum())} features are not in {self.folder}")
        shards = list(self._verified.values())
        return Features(shards, shard_of, row_of, self.width, read_moments(self.folder))

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Hold the table's lock, which ends with the process, and see what others have added meanwhile."""
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process that fills {self.folder}", file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            _remove_leftovers(self.folder)
            self.refresh()
            yield

    def add(self, rows: Iterable[tuple[Sequence[bytes], Array]]) -> None:
        """Keep features (n, width) with their n digests as they come.

        What is kept survives a kill; whatever else ends `rows`, all that came is kept.
        """
        if not (self.folder / "table.json").exists():
            _write_atomically(self.folder / "table.json", [self._description])
        waiting: list[Records] = []
        flushed = time.monotonic()
        try:
            for digests, features in rows:
                waiting.append(self._records(digests, features))
                if time.monotonic() - flushed > _FLUSH_SECONDS:
                    self._write_shard([records.tobytes() for records in waiting])
                    self._merge_small(leaving=_OPEN_SHARDS)
                    waiting, flushed = [], time.monotonic()
        finally:
            if waiting:
                self._write_shard([records.tobytes() for records in waiting])
        self.refresh()

    def note(self, rows: Rows) -> None:
        """Add the moments of pictures, as the backbone took them, to what is known of them."""
        known = read_moments(self.folder) or Moments(0, 0.0, 0.0)
        _write_atomically(self.folder / MOMENTS, [known.with_rows(rows).as_text().encode()])

    def shards(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every shard, unchecked; of one that is merged meanwhile, the newer one."""
        given: set[str] = set()
        while new := [file for file in self.shard_files() if file.name not in given]:
            for file in new:
                try:
                    content = file.read_bytes()
                except FileNotFoundError:
                    continue
                given.add(file.name)
                yield file.name, content

    def shard_files(self) -> list[Path]:
        """The shards as they lie on the disk, unchecked."""
        return sorted(self.folder.glob("features-*.npy"))

    def take_file(self, name: str, content: bytes) -> None:
        """Add another host's shard under its own name; it is checked like any other."""
        if not (self.folder / name).exists():
            _write_atomically(self.folder / name, [content])
        self.refresh()

    def _records(self, digests: Sequence[bytes], features: Array) -> Records:
        records = np.empty(len(digests), self.record)
        records["digest"] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
        records["feature"] = features
        return records

    def _write_shard(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write records as one .npy file that is named after its bytes."""
        rows = sum(len(piece) for piece in pieces) // self.record.itemsize
        content = [_npy_header(self.record, rows), *pieces]
        name = f"features-{_sha256(content)[:16]}.npy"
        _write_atomically(self.folder / name, content)

    def refresh(self) -> None:
        """Open and check the shards that are new, forget those that are gone."""
        self._merge_small(leaving=_OPEN_SHARDS)
        while True:
            files = {file.name: file for file in self.shard_files()}
            self._verified = {name: records for name, records in self._verified.items() if name in files}
            try:
                for name in files.keys() - self._verified.keys():
                    records = self._open(files[name])
                    if records is not None:
                        self._verified[name] = records
                return
            except FileNotFoundError:  # another process has just merged it: its rows are in a newer shard
                continue

    def _open(self, file: Path) -> Records | None:
        """The records of a shard; a damaged one is removed, so that its features are computed again."""
        if file_sha256(file).startswith(file.stem.removeprefix("features-")):
            records: Records = np.load(file, mmap_mode="r", allow_pickle=False)
            if records.dtype == self.record and records.ndim == 1:
                return records
        print(f"{file} is damaged: its features are computed again", file=sys.stderr, flush=True)
        file.unlink(missing_ok=True)
        return None

    def _locate(self, digests: Sequence[bytes]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Shard and row of each digest, -1 where there is none."""
        wanted = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
        shard_of = np.full(len(wanted), -1, np.int32)
        row_of = np.full(len(wanted), -1, np.int32)
        short = _first_eight(wanted)
        for number, records in enumerate(self._verified.values()):
            there = np.ascontiguousarray(records["digest"])
            order = np.argsort(_first_eight(there), kind="stable")
            place = np.searchsorted(_first_eight(there)[order], short).clip(max=len(there) - 1)
            row = order[place]
            same = (there[row] == wanted).all(axis=1)
            shard_of[same], row_of[same] = number, row[same]
        return shard_of, row_of

    def merge(self) -> None:
        """Make a few large shards of many small ones: a long extraction leaves thousands."""
        self._merge_small(leaving=1)
        self.refresh()

    def _merge_small(self, *, leaving: int) -> None:
        """Merge until no more small shards than that are left.

        Two processes that do so at once keep some rows twice, and lose none.
        """
        while len(small := self._small()) > leaving:
            group, rows = [], 0
            for file, count in small[:_OPEN_SHARDS]:
                if rows + count <= _MERGED_ROWS:
                    rows += count
                    group.append(file)
            self._replace(group)

    def _replace(self, group: Sequence[Path]) -> None:
        """Write those that are whole and still there as one; they are closed when this returns."""
        opened = {file: self._open_if_there(file) for file in group}
        whole = {file: records for file, records in opened.items() if records is not None}
        if len(whole) > 1:  # one alone would be written under its own name, and removed
            self._write_shard([_bytes_of(records) for records in whole.values()])
            for file in whole:
                file.unlink(missing_ok=True)

    def _small(self) -> list[tuple[Path, int]]:
        """The shards that should be merged, each with how many rows it has."""
        small, header = [], len(_npy_header(self.record, 0))
        for file in self.shard_files():
            with suppress(FileNotFoundError):  # another process has just merged it
                rows = (file.stat().st_size - header) // self.record.itemsize
                if rows < _MERGED_ROWS // 2:
                    small.append((file, rows))
        return small

    def _open_if_there(self, file: Path) -> Records | None:
        try:
            return self._verified[file.name] if file.name in self._verified else self._open(file)
        except FileNotFoundError:  # another process has just merged it: its rows are in a newer shard
            return None


def _bytes_of(records: Records) -> memoryview:
    return memoryview(records.view(np.uint8).ravel())  # type: ignore[arg-type]


def _first_eight(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Enough of a digest to sort by; equality is checked on all of it."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).ravel()


def _npy_header(record: np.dtype[Any], rows: int) -> bytes:
    stream = BytesIO()
    description = np.lib.format.dtype_to_descr(record)
    np.lib.format.write_array_header_1_0(
        stream, {"descr": description, "fortran_order": False, "shape": (rows,)}
    )
    return stream.getvalue()


def _sha256(pieces: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _write_atomically(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write beside, then rename: others see all of it or nothing.

    The name is random: processes of two containers that share the folder often have the same number. Raises
    `OSError` with the file's name, also where a full disk's has none.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with beside.open("wb") as stream:
            stream.writelines(pieces)
        beside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def _remove_leftovers(folder: Path) -> None:
    """Half-written files of processes that were killed; nobody takes an hour to write one."""
    for file in folder.glob(".*.partial"):
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > _LEFT_OVER_SECONDS:
                file.unlink()
