"""How far a run has come, on the disk: written atomically, read back only when whole.

Called by the training loop and, when a job starts, by the job. A checkpoint is one safetensors file (no
pickle), `step-<step>-<first 16 digits of the SHA-256 of its bytes>.safetensors`, so a file that is not
what was written cannot pass for one. A folder belongs to one run, of which only one process need write.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import safetensors.torch
from torch import Tensor

from trainer.download import file_sha256

_FORMAT = "trainer checkpoint 1"
_PARTIAL = ".step-{}.partial"
_NAME = re.compile(r"step-([0-9]{8,})-([0-9a-f]{16})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A run after `step` steps: tensors by name, and a state of what JSON gives back unchanged.

    So numbers are finite (None stands for an absent one), keys are strings, sequences are lists.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


@dataclass(frozen=True)
class _Saved:
    """A file that has a checkpoint's name."""

    path: Path
    step: int
    digest: str
    written: int  # nanoseconds


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> bool:
    """Write a checkpoint, then remove the oldest files beyond `keep`; whether it was written.

    A full disk or a closed folder is a warning on stderr, and training goes on. Raises `ValueError`
    for a state that JSON would not give back unchanged.
    """
    content = _encode(checkpoint)
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"step-{checkpoint.step:08d}-{digest}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        _write(path, content)
    except OSError as error:
        _warn(
            f"the checkpoint of step {checkpoint.step} could not be written to {folder}: "
            f"{error.strerror}; training goes on, and if it is stopped now it loses the steps since the "
            f"last one; {_remedy(error, len(content))}"
        )
        return False
    _remove_older(path, keep)
    return True


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint, on the CPU; None where there is none.

    One that is damaged or cannot be read is named in a warning, and the one before it is taken.
    """
    saved = _saved_in(folder)
    for file in sorted(saved, key=lambda file: (file.step, file.written), reverse=True):
        try:
            return _read(file)
        except FileNotFoundError:  # another process has saved newer ones and removed this one
            return newest_checkpoint(folder)
        except Exception as error:  # noqa: BLE001 - whatever its bytes do to a reader, an older one may be whole
            _warn(f"the checkpoint {file.path} is not used: {_reason(error)}; trying the one before it")
    if saved:
        _warn(f"there is no whole checkpoint in {folder}: starting from the beginning")
    return None


def _encode(checkpoint: Checkpoint) -> bytes:
    text = json.dumps(checkpoint.state, allow_nan=False)
    if json.loads(text) != checkpoint.state:
        raise ValueError(
            "a checkpoint's state holds what JSON would change: a tuple, or a key that is no text"
        )
    metadata = {"format": _FORMAT, "step": str(checkpoint.step), "state": text}
    return safetensors.torch.save(_in_own_memory(checkpoint.tensors), metadata)


def _in_own_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, without gaps; copied only where memory is shared, which safetensors refuses."""
    separate, taken = {}, set[int]()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage()
        if memory.nbytes() != plain.nbytes or memory.data_ptr() in taken:
            plain = plain.clone()
        taken.add(plain.untyped_storage().data_ptr())
        separate[name] = plain
    return separate


def _write(path: Path, content: bytes) -> None:
    partial, stream = _begin(path.parent)
    try:
        with stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _begin(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new file, locked for as long as its writer lives: what has no lock was abandoned."""
    while True:
        partial = folder / _PARTIAL.format(uuid.uuid4().hex)
        stream = partial.open("xb")
        with suppress(OSError):  # a file system without locks; there, abandoned files stay
            fcntl.flock(stream, fcntl.LOCK_EX)
        if partial.exists():  # else another process took it for abandoned before it was locked
            return partial, stream
        stream.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed writers left, before it takes the room of the next checkpoint."""
    for partial in folder.glob(_PARTIAL.format("*")):
        with (
            suppress(OSError),
            partial.open("r+b") as stream,
        ):  # its writer lives, or it is not ours to remove
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def _remove_older(newest: Path, keep: int) -> None:
    """By time of writing, not by step: a run that fell back writes smaller steps than the damaged ones.

    Every process spares the last written, so two that save into one folder never empty it.
    """
    saved = sorted(_saved_in(newest.parent), key=lambda file: (file.written, file.step), reverse=True)
    for path in (file.path for file in saved[keep:] if file.path != newest):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _warn(f"the old checkpoint {path} cannot be removed ({error.strerror}); delete it by hand")


def _saved_in(folder: Path) -> list[_Saved]:
    try:
        with os.scandir(folder) as entries:
            return [file for entry in entries if (file := _recognise(entry))]
    except FileNotFoundError:  # no such folder, or another process has just removed one of its files
        return _saved_in(folder) if folder.is_dir() else []
    except OSError as error:
        _warn(f"the checkpoints in {folder} cannot be listed: {error.strerror}; let the job read that folder")
        return []


def _recognise(entry: os.DirEntry[str]) -> _Saved | None:
    match = _NAME.fullmatch(entry.name)
    if match is None or not entry.is_file(follow_symlinks=False):
        return None
    return _Saved(Path(entry.path), int(match[1]), match[2], entry.stat(follow_symlinks=False).st_mtime_ns)


def _read(file: _Saved) -> Checkpoint:
    """Raises whatever is wrong with the bytes."""
    if not file_sha256(file.path).startswith(file.digest):
        raise ValueError("its SHA-256 is not the one in its name, it is half-written or damaged")
    # "pread": a mapped file that another process cuts short would end this one
    with safetensors.safe_open(file.path, framework="pt", backend="pread") as content:
        metadata = content.metadata() or {}
        tensors = content.get_tensors()
    if (metadata.get("format"), metadata.get("step")) != (_FORMAT, str(file.step)):
        raise ValueError(f"its header does not say that it is the {_FORMAT} of step {file.step}")
    state = json.loads(metadata.get("state", ""), parse_constant=_refuse)
    if not isinstance(state, dict):
        raise ValueError("its state is no JSON object")
    return Checkpoint(file.step, tensors, state)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"its state holds {constant}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read ({error.strerror})"
    return " ".join(str(error).split())


def _remedy(error: OSError, size: int) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return f"give the job a larger volume (VolumeSizeInGB): each checkpoint takes {size / 1e6:.1f} MB"
    return "let the job write there, or choose another folder with --checkpoints"


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)
