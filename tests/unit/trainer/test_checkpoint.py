"""Checkpoints: what comes back is what was saved, whatever happens to the process, the disk or the file."""

import errno
import hashlib
import json
import multiprocessing
import os
import random
import resource
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainer.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint

FORK = multiprocessing.get_context("fork")
Said = pytest.CaptureFixture[str]


def checkpoint(step: int, *, size: int = 64) -> Checkpoint:
    """One whose content follows from its step."""
    numbers = torch.full((size,), step, dtype=torch.int64)
    return Checkpoint(step, {"weight": numbers.float() / 3, "moment": numbers}, {"step": step})


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        assert save_checkpoint(folder, checkpoint(step))


def same(found: Checkpoint | None, expected: Checkpoint) -> bool:
    return (
        found is not None
        and (found.step, found.state) == (expected.step, expected.state)
        and found.tensors.keys() == expected.tensors.keys()
        and all(identical(tensor, expected.tensors[name]) for name, tensor in found.tensors.items())
    )


def identical(one: Tensor, other: Tensor) -> bool:
    """Equal in type, shape and every bit."""
    same_kind = one.dtype == other.dtype and one.shape == other.shape
    return same_kind and torch.equal(octets(one), octets(other))


def octets(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1).contiguous().view(torch.uint8)


def files(folder: Path) -> list[str]:
    """The names without their hash."""
    return sorted(path.name.rpartition("-")[0] for path in folder.iterdir())


def newest_file(folder: Path) -> Path:
    return max(folder.glob("step-*"))


# What comes back


def odd_floats() -> Tensor:
    return torch.tensor([0.1, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45, 3.4028235e38])


TENSORS = {
    "float32": odd_floats(),
    "bfloat16": odd_floats().bfloat16(),
    "int64": torch.tensor([-(2**63), 2**63 - 1]),
    "uint8": torch.arange(256, dtype=torch.uint8).reshape(16, 16),
    "scalar": torch.tensor(7),
    "empty": torch.empty(0, 3),
    "parameter": torch.nn.Parameter(torch.ones(3)),
    "transposed": torch.arange(12.0).reshape(3, 4).T,
    "strided": torch.arange(12.0)[::3],
    "channels_last": torch.arange(96.0).reshape(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "expanded": torch.tensor([1.5]).expand(5),
}


def test_tensors_come_back_bit_by_bit(tmp_path: Path) -> None:
    shared = torch.arange(10.0)
    saved = Checkpoint(3, {**TENSORS, "first half": shared[:5], "second half": shared[5:], "all": shared}, {})

    assert save_checkpoint(tmp_path, saved)

    assert same(newest_checkpoint(tmp_path), saved)


def test_a_restored_tensor_can_be_trained_on_when_its_file_is_gone(tmp_path: Path) -> None:
    save(tmp_path, 1)
    found = newest_checkpoint(tmp_path)
    assert found is not None

    newest_file(tmp_path).unlink()
    found.tensors["weight"].add_(1)

    assert identical(found.tensors["weight"], checkpoint(1).tensors["weight"] + 1)


def test_state_comes_back_exactly(tmp_path: Path) -> None:
    random.seed(0)
    floats = [struct.unpack("d", random.randbytes(8))[0] for _ in range(2000)]
    state: dict[str, Any] = {
        "floats": [0.1, -0.0, 5e-324, 1.7976931348623157e308, *(x for x in floats if abs(x) < float("inf"))],
        "integers": [0, -1, 2**80],
        "others": {"text": "Größe 狗 \ud800", "none": None, "yes": True, "list": [[], {}]},
    }

    assert save_checkpoint(tmp_path, Checkpoint(1, {}, state))

    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert repr(found.state) == repr(state)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), (1, 2), {1: "x"}])
def test_a_state_that_would_come_back_changed_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, Checkpoint(1, {}, {"value": value}))

    assert list(tmp_path.iterdir()) == []


def test_the_name_holds_the_step_and_the_hash_of_the_bytes(tmp_path: Path) -> None:
    save(tmp_path / "not" / "there" / "yet", 12)

    (file,) = (tmp_path / "not" / "there" / "yet").iterdir()

    assert file.name == f"step-00000012-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}.safetensors"


# Which are kept, and which is taken


@pytest.mark.parametrize("folder", ["missing", "."])
def test_where_none_was_saved_there_is_none(tmp_path: Path, capsys: Said, folder: str) -> None:
    assert newest_checkpoint(tmp_path / folder) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("keep", "kept"), [(1, [10]), (2, [9, 10]), (3, [8, 9, 10])])
def test_the_newest_are_kept(tmp_path: Path, keep: int, kept: list[int]) -> None:
    for step in (1, 8, 9, 10):
        assert save_checkpoint(tmp_path, checkpoint(step), keep=keep)

    assert files(tmp_path) == [f"step-{step:08d}" for step in kept]
    assert same(newest_checkpoint(tmp_path), checkpoint(10))


def test_steps_of_more_than_eight_digits_are_newer_still(tmp_path: Path) -> None:
    save(tmp_path, 99_999_999, 100_000_000)

    assert same(newest_checkpoint(tmp_path), checkpoint(100_000_000))


def test_what_is_no_checkpoint_is_left_alone(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "notes.partial").write_text("mine")
    (tmp_path / "step-00000099-0123456789abcdef.safetensors").mkdir()
    (tmp_path / "step-00000098-0123456789abcdef.safetensors").symlink_to("nowhere")

    save(tmp_path, 1, 2, 3)

    assert same(newest_checkpoint(tmp_path), checkpoint(3))
    assert len(list(tmp_path.iterdir())) == 4 + 2
    assert capsys.readouterr().err == ""


def test_a_run_that_fell_back_keeps_what_it_saves_next(tmp_path: Path) -> None:
    save(tmp_path, 10, 20)
    newest_file(tmp_path).write_bytes(b"damaged")
    for path in tmp_path.iterdir():
        os.utime(path, (1e9, 1e9))

    save(tmp_path, 15, 17)

    assert files(tmp_path) == ["step-00000015", "step-00000017"]


def test_the_last_written_stays_also_when_the_clock_went_back(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        os.utime(path, (4e9, 4e9))

    save(tmp_path, 3, 4)

    assert same(newest_checkpoint(tmp_path), checkpoint(4))


# Damage


def header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def cut(at: Callable[[bytes], int]) -> Callable[[bytes], bytes]:
    return lambda content: content[: at(content)]


def flip(at: Callable[[bytes], int]) -> Callable[[bytes], bytes]:
    def flipped(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[at(content)] ^= 0x10
        return bytes(changed)

    return flipped


PLACES: dict[str, Callable[[bytes], int]] = {
    "start": lambda content: 0,
    "in the length": lambda content: 7,
    "before the header": lambda content: 8,
    "in the header": lambda content: 9,
    "in the state": lambda content: content.index(b"state") + 8,
    "at the header's end": lambda content: header_end(content) - 1,
    "after the header": header_end,
    "in the numbers": lambda content: (header_end(content) + len(content)) // 2,
    "last byte": lambda content: len(content) - 1,
}
DAMAGE = {
    **{f"cut off {place}": cut(at) for place, at in PLACES.items()},
    **{f"flipped bit {place}": flip(at) for place, at in PLACES.items()},
    "longer": lambda content: content + b"\0",
    "zeroes": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_one_is_named_and_the_one_before_it_taken(
    tmp_path: Path, capsys: Said, damage: Callable[[bytes], bytes]
) -> None:
    save(tmp_path, 1, 2)
    file = newest_file(tmp_path)
    file.write_bytes(damage(file.read_bytes()))

    assert same(newest_checkpoint(tmp_path), checkpoint(1))

    assert capsys.readouterr().err == (
        f"warning: the checkpoint {file} is not used: its SHA-256 is not the one in its name, it is "
        "half-written or damaged; trying the one before it\n"
    )


def plant(folder: Path, content: bytes) -> None:
    """A file of step 9 whose name holds the hash of its bytes, whatever they are."""
    digest = hashlib.sha256(content).hexdigest()[:16]
    (folder / f"step-00000009-{digest}.safetensors").write_bytes(content)


def encoded(header: Any, numbers: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def with_metadata(**changes: str | None) -> bytes:
    metadata = {"format": "trainer checkpoint 1", "step": "9", "state": "{}"} | changes
    return encoded({"__metadata__": {key: value for key, value in metadata.items() if value is not None}})


def tensor(kind: str, shape: list[int], begin: int, end: int) -> bytes:
    metadata = {"format": "trainer checkpoint 1", "step": "9", "state": "{}"}
    entry = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    return encoded({"__metadata__": metadata, "x": entry}, bytes(8))


HOSTILE = {
    "nothing": b"",
    "a header of 2^64 bytes": b"\xff" * 8,
    "a header of 2^63 bytes": (2**63).to_bytes(8, "little") + b"{}",
    "a header of 90 MB that is not there": (90_000_000).to_bytes(8, "little") + b"{}",
    "a header that is no JSON": encoded(b"{"),
    "a header that is no text": encoded(b"\xff\xfe"),
    "a header that is a list": encoded([]),
    "a header nested deep": encoded(b'{"x":' + b"[" * 100_000),
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.",
    "no metadata": encoded({}),
    "another format": with_metadata(format="pt"),
    "no step": with_metadata(step=None),
    "another step": with_metadata(step="8"),
    "no state": with_metadata(state=None),
    "a state that is no JSON": with_metadata(state="{'a': 1}"),
    "a state that is a list": with_metadata(state="[]"),
    "a state with NaN": with_metadata(state='{"loss": NaN}'),
    "a state nested deep": with_metadata(state="[" * 100_000),
    "a number of a million digits": with_metadata(state='{"a": ' + "9" * 1_000_000 + "}"),
    "an unknown type": tensor("F7", [2], 0, 8),
    "numbers beyond the end": tensor("F32", [2**40], 0, 2**42),
    "a shape of 2^124 numbers": tensor("F32", [2**62, 2**62], 0, 8),
    "an empty tensor of 2^62 rows": tensor("F32", [2**62, 0, 2**62], 0, 0),
    "a negative shape": tensor("F32", [-2], 0, 8),
    "offsets that run backwards": tensor("F32", [2], 8, 0),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_bytes_that_are_no_checkpoint_are_not_used_whatever_they_are(
    tmp_path: Path, capsys: Said, content: bytes
) -> None:
    save(tmp_path, 1)
    plant(tmp_path, content)

    assert same(newest_checkpoint(tmp_path), checkpoint(1))

    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: the checkpoint {newest_file(tmp_path)} is not used: ")
    assert len(warning) < 1000


def test_with_none_whole_it_says_that_the_run_begins_anew(tmp_path: Path, capsys: Said) -> None:
    save(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged")

    assert newest_checkpoint(tmp_path) is None

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert said[-1] == f"warning: there is no whole checkpoint in {tmp_path}: starting from the beginning"


# A disk that does not take it


def test_on_a_full_disk_training_goes_on_and_saves_again_when_there_is_room(
    tmp_path: Path, mount_disk: Callable[[Path, str], Path], fill: Callable[[Path], Path], capsys: Said
) -> None:
    small_disk = mount_disk(tmp_path / "small", "1m")
    save(small_disk, 1)
    ballast = fill(small_disk)

    assert not save_checkpoint(small_disk, checkpoint(2, size=20_000))

    assert capsys.readouterr().err == (
        f"warning: the checkpoint of step 2 could not be written to {small_disk}: No space left on device; "
        "training goes on, and if it is stopped now it loses the steps since the last one; give the job a "
        "larger volume (VolumeSizeInGB): each checkpoint takes 0.2 MB\n"
    )
    assert files(small_disk) == ["", "step-00000001"]
    assert same(newest_checkpoint(small_disk), checkpoint(1))

    ballast.unlink()
    assert save_checkpoint(small_disk, checkpoint(3, size=20_000))
    assert same(newest_checkpoint(small_disk), checkpoint(3, size=20_000))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_breaks_off_leaves_no_part(tmp_path: Path, capsys: Said) -> None:
    save(tmp_path, 1)

    with largest_file(100_000):
        assert not save_checkpoint(tmp_path, checkpoint(2, size=20_000))

    assert f"could not be written to {tmp_path}: {os.strerror(errno.EFBIG)}; " in capsys.readouterr().err
    assert files(tmp_path) == ["step-00000001"]
    assert same(newest_checkpoint(tmp_path), checkpoint(1))


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder in which this process may not write; root gives its power up for the time."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)


def test_a_closed_folder_is_one_warning(closed: Path, capsys: Said) -> None:
    assert not save_checkpoint(closed / "checkpoints", checkpoint(1))

    assert capsys.readouterr().err == (
        f"warning: the checkpoint of step 1 could not be written to {closed / 'checkpoints'}: Permission "
        "denied; training goes on, and if it is stopped now it loses the steps since the last one; let the "
        "job write there, or choose another folder with --checkpoints\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a folder of another user")
def test_a_folder_that_cannot_be_listed_is_one_warning(closed: Path, capsys: Said) -> None:
    assert newest_checkpoint(closed) is None

    assert capsys.readouterr().err == (
        f"warning: the checkpoints in {closed} cannot be listed: Permission denied; let the job read that "
        "folder\n"
    )


# Processes that die, and processes at the same time

LARGE = 250_000  # numbers; 3 MB, so that much of the time is spent writing


def save_without_end(folder: Path, saved: "Synchronized[int]") -> None:
    torch.set_num_threads(1)  # a forked process must not use its parent's threads
    while True:
        step = saved.value + 1
        if save_checkpoint(folder, checkpoint(step, size=LARGE)):
            saved.value = step


def start_saving(folder: Path) -> tuple[ForkProcess, "Synchronized[int]"]:
    found = newest_checkpoint(folder)
    saved = FORK.Value("q", found.step if found else 0)
    process = FORK.Process(target=save_without_end, args=(folder, saved), daemon=True)
    process.start()
    return process, saved


def partials(folder: Path) -> list[Path]:
    return list(folder.glob(".*"))


def end(process: ForkProcess) -> None:
    process.kill()
    process.join()


def test_kill_9_at_any_moment_leaves_the_newest_whole(tmp_path: Path, capsys: Said) -> None:
    moments, kills, cut_short = random.Random(0), 0, 0
    while kills < 25 or (kills < 250 and not cut_short):
        process, saved = start_saving(tmp_path)
        time.sleep(moments.uniform(0.02, 0.12))
        end(process)

        kills, cut_short = kills + 1, cut_short + len(partials(tmp_path))
        assert len(partials(tmp_path)) <= 1
        newest = newest_checkpoint(tmp_path)
        step = 0 if newest is None else newest.step
        assert step in {saved.value, saved.value + 1}
        assert newest is None or same(newest, checkpoint(step, size=LARGE))

    assert cut_short > 0, "no kill came in the middle of a write"
    assert capsys.readouterr().err == ""
    save(tmp_path, saved.value + 2)
    assert len(list(tmp_path.iterdir())) == 2


def stop_while_writing(process: int, folder: Path) -> list[Path]:
    """Halt the process while its file, locked before the first byte, is being written; the file."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if partials(folder):
            os.kill(process, signal.SIGSTOP)
            os.waitpid(process, os.WUNTRACED)
            writing = partials(folder)
            if writing and writing[0].stat().st_size:
                return writing
            os.kill(process, signal.SIGCONT)
    raise TimeoutError("it writes nothing")


def test_what_a_living_process_writes_is_left_alone_until_it_is_dead(tmp_path: Path) -> None:
    process, _ = start_saving(tmp_path)
    assert process.pid is not None
    try:
        writing = stop_while_writing(process.pid, tmp_path)

        save(tmp_path, 10_000)
        while_alive = partials(tmp_path)
    finally:
        end(process)
    save(tmp_path, 10_001)

    assert while_alive == writing
    assert partials(tmp_path) == []


def save_many(folder: Path, steps: range) -> None:
    torch.set_num_threads(1)
    for step in steps:
        assert save_checkpoint(folder, checkpoint(step))


def test_two_processes_may_save_into_one_folder_while_a_third_reads(tmp_path: Path, capfd: Said) -> None:
    save(tmp_path, 1)
    writers = [FORK.Process(target=save_many, args=(tmp_path, range(2, 200)), daemon=True) for _ in range(2)]
    for writer in writers:
        writer.start()

    read = 0
    while any(writer.is_alive() for writer in writers):
        newest = newest_checkpoint(tmp_path)
        assert newest is not None
        assert same(newest, checkpoint(newest.step))
        read += 1

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert read > 20
    assert same(newest_checkpoint(tmp_path), checkpoint(199))
    assert files(tmp_path) == ["step-00000198", "step-00000199"]
    assert capfd.readouterr().err == ""
