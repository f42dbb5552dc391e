"""A trial of smdebug one step at a time: written, read, and shown to rules.

`trainer.debugger` writes a step, and shows it to the rules; `trainer.analysis` shows them the steps of a
trial that somebody has left. Writing is done here and not by smdebug's thread, which dies of a full disk and
leaves training waiting for it; reading as well, since smdebug reads a file once for each tensor in it.
"""

import re
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.smdebug_support import (
    CHECKSUM_MAGIC_BYTES,
    END_OF_JOB_FILENAME,
    REDUCTIONS_PREFIX,
    DecodeError,
    Event,
    EventFileReader,
    FileWriter,
    Index,
    IndexFileLocationUtils,
    ModeKeys,
    SMDebugError,
    Summary,
    Tensor,
    TensorFileLocation,
    TensorLocation,
    Trial,
    make_tensor_proto,
    masked_crc32c,
    reverse_reduction_tensor_name,
)

Values = Mapping[str, npt.NDArray[np.generic]]  # by the names that smdebug saves tensors and reductions under

_EVENTS = re.compile(r"\d+_.+\.tfevents")
WORKER = "worker_0"
_FOOTER = struct.pack("I", masked_crc32c(CHECKSUM_MAGIC_BYTES))
# The message of one float32, up to the number itself, which comes last.
_NUMBER = make_tensor_proto(np.zeros((), np.float32), "").SerializeToString()[:-4]


@dataclass(frozen=True)
class SavedStep:
    """What one step has saved: its number in the trial, its mode and its number in that mode."""

    number: int
    mode: ModeKeys
    mode_step: int
    values: Values


class StepTrial(Trial):  # type: ignore[misc]
    """A trial that holds one step in memory: the one last shown."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.num_workers = 1
        self.loaded_all_steps = True  # there is nothing to wait for

    def show(self, step: SavedStep) -> None:
        """Hold this step instead of the one before."""
        for held in (
            self._tensors,
            self._mode_to_global,
            self._global_to_mode,
            self.global_step_to_tensors_map,
            self.workers_for_global_step,
            self.mode_to_tensors_map,
        ):
            held.clear()
        self._populate_step_dict(step.mode, step.mode_step, step.number)
        self._populate_workers_for_global_step(step.number, WORKER)
        for name, value in step.values.items():
            self._hold(step, name, value)

    def _hold(self, step: SavedStep, name: str, value: npt.NDArray[np.generic]) -> None:
        reduction = None
        if name.startswith(REDUCTIONS_PREFIX):
            name, reduction, absolute = reverse_reduction_tensor_name(name)
        tensor = self._tensors.setdefault(name, Tensor(name, trial=self, cache=False))
        tensor._create_mode_step(step.mode, step.mode_step)
        saved = tensor._mode_steps[step.mode]
        if reduction is None:
            saved.set_step_value(step.mode_step, WORKER, value)
        else:
            saved.set_step_reduction_value(step.mode_step, WORKER, reduction, absolute, value)
        self._populate_global_step_to_tensor_name_map(name, step.number)
        self._populate_mode_to_tensor_name_map(name, step.mode)

    def _get_collection_files(self) -> list[str]:
        return []

    def _read_collections(self, collection_files: list[str]) -> None:
        """Rules find tensors by their names."""


def is_trial(folder: Path) -> bool:
    """Whether smdebug has saved something there."""
    return (folder / "events").is_dir()


def trials_below(folder: Path) -> list[Path]:
    """`folder` where it is a trial itself, else its sub-folders that are, by name."""
    if is_trial(folder):
        return [folder]
    return [each for each in sorted(folder.glob("*")) if is_trial(each)]


def saved_steps(folder: Path) -> Iterator[SavedStep]:
    """The steps of the trial in `folder`, in order; of several workers, what the first of them saved.

    A file that is damaged is left out, with a warning.
    """
    files = {
        int(path.parent.name): path
        for path in sorted((folder / "events").glob("*/*"), reverse=True)
        if _EVENTS.fullmatch(path.name) and path.parent.name.isdecimal()
    }
    for number in sorted(files):
        try:
            read = list(EventFileReader(str(files[number])).read_tensors())
        except (OSError, ValueError, struct.error, DecodeError, SMDebugError) as error:
            print(f"warning: {files[number]} is left out: {error}", file=sys.stderr, flush=True)
            continue
        if read:
            _, _, _, mode, mode_step = read[0]
            yield SavedStep(number, mode, mode_step, {name: value for name, _, value, *_ in read})


def write_step(folder: Path, step: SavedStep) -> None:
    """Write a step as smdebug does: a file of events, then its index; raises `OSError`, leaving neither."""
    events, index = _files(folder, step.number)
    start = Event(wall_time=time.time(), step=step.number).SerializeToString()
    metadata = FileWriter._get_metadata(step.mode, step.mode_step).SerializeToString()
    content, places = bytearray(), []
    for name, value in step.values.items():
        record = _record(start + _summary(name, value, metadata))
        places.append(
            TensorLocation(name, step.mode.name, step.mode_step, "", len(content), len(record), WORKER)
        )
        content += record
    meta = {
        "mode": step.mode.name,
        "mode_step": step.mode_step,
        "event_file_name": str(events.relative_to(folder)),
    }
    index_text = Index(meta, [place.to_dict() for place in places], []).to_json()
    try:
        _write(events, bytes(content))
        _write(index, index_text.encode())
    except OSError:
        _remove(folder, step.number)
        raise


def _summary(name: str, value: npt.NDArray[np.generic], metadata: bytes) -> bytes:
    """The field `summary` of an Event with one tensor in it.

    Put together by hand from the messages inside: protobuf in Python takes ten times as long, and there are
    thousands of numbers in a step of a network with all layers unfrozen.
    """
    if value.ndim == 0:
        tensor = _NUMBER + np.float32(value).tobytes()
    else:
        tensor = make_tensor_proto(value, name).SerializeToString()
    entry = (
        _field(Summary.Value.TAG_FIELD_NUMBER, name.encode())
        + _field(Summary.Value.METADATA_FIELD_NUMBER, metadata)
        + _field(Summary.Value.TENSOR_FIELD_NUMBER, tensor)
    )
    return _field(Event.SUMMARY_FIELD_NUMBER, _field(Summary.VALUE_FIELD_NUMBER, entry))


def _field(number: int, payload: bytes) -> bytes:
    """A field that holds bytes, text or a message: https://protobuf.dev/programming-guides/encoding/."""
    length, size = bytearray(), len(payload)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + length + payload


def remove_steps(folder: Path, first: int) -> None:
    """Remove the steps from number `first` on, and the mark of a trial that has ended."""
    for events in (folder / "events").glob("*"):
        if events.name.isdecimal() and int(events.name) >= first:
            _remove(folder, int(events.name))
    (folder / END_OF_JOB_FILENAME).unlink(missing_ok=True)


def _files(folder: Path, number: int) -> tuple[Path, Path]:
    events = TensorFileLocation(step_num=number, worker_name=WORKER).get_file_location(str(folder))
    return Path(events), Path(IndexFileLocationUtils.get_index_key_for_step(str(folder), number, WORKER))


def _record(event: bytes) -> bytes:
    """A TFRecord as smdebug's reader wants it: the second checksum is of a constant."""
    return _header(len(event)) + event + _FOOTER


@lru_cache(maxsize=1024)
def _header(size: int) -> bytes:
    """An event's length and its checksum, which Python is slow to compute."""
    header = struct.pack("Q", size)
    return header + struct.pack("I", masked_crc32c(header))


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".tmp")
    partial.write_bytes(content)
    partial.rename(file)


def _remove(folder: Path, number: int) -> None:
    """Remove a step, the index first: what it does not name is not there."""
    events, index = _files(folder, number)
    for file in (index, events):
        file.unlink(missing_ok=True)
        file.with_name(file.name + ".tmp").unlink(missing_ok=True)
    with suppress(OSError):
        events.parent.rmdir()
