"""The scan: each file is looked at once, and not again while it is as it was, whatever happens meanwhile."""

import contextlib
import hashlib
import io
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import trainer.scan
from trainer.scan import Scanned, scan

NAMES = [f"{number:02d}.png" for number in range(12)]
SCAN = (
    "import os, pathlib, sys\n"
    "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"  # as slow on every machine
    "from trainer.scan import scan\n"
    "root, cache = map(pathlib.Path, sys.argv[1:])\n"
    "files = sorted(file.name for file in root.iterdir())\n"
    "for found in scan(files, root=root, cache=cache, label='test'):\n"
    "    print(found.digest.hex(), found.reason)\n"
)


def draw(path: Path, *, seed: int, side: int = 120) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, compress_level=1)


@pytest.fixture(scope="module")
def _drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    for seed, name in enumerate(NAMES):
        draw(folder / name, seed=seed)
    (folder / NAMES[3]).write_text("no picture")
    return folder


@pytest.fixture
def root(_drawn: Path, tmp_path: Path) -> Path:
    """A fresh folder with a dozen files of about 40 kB; the fourth is no picture."""
    return Path(shutil.copytree(_drawn, tmp_path / "root"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def look(root: Path, cache: Path | None) -> list[Scanned]:
    return scan(sorted(file.name for file in root.iterdir()), root=root, cache=cache, label="test")


def truth(root: Path) -> list[Scanned]:
    return look(root, None)


def bytes_read() -> int:
    """Whatever this process has read from files so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


def read_again(root: Path, cache: Path) -> bool:
    """Whether a scan reads the pictures themselves."""
    whole = sum(file.stat().st_size for file in root.iterdir())
    before = bytes_read()
    look(root, cache)
    return bytes_read() - before > whole / 4


def test_each_file_is_found_with_its_digest_and_its_reason(root: Path, cache: Path) -> None:
    found = look(root, cache)

    assert [scanned.digest for scanned in found] == [
        hashlib.sha256((root / name).read_bytes()).digest() for name in NAMES
    ]
    reasons = [scanned.reason for scanned in found]
    assert reasons.pop(3) == "not a picture of a known format"
    assert set(reasons) == {None}


def test_a_second_scan_finds_the_same_without_reading_the_files(root: Path, cache: Path) -> None:
    first = look(root, cache)

    assert not read_again(root, cache)
    assert look(root, cache) == first


def test_what_was_found_by_other_rules_is_not_believed(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trainer.scan, "_RULES", 1)
        look(root, cache)

    assert read_again(root, cache)
    assert not read_again(root, cache)


def test_a_file_that_changes_often_does_not_make_the_database_grow(root: Path, cache: Path) -> None:
    for change in range(9):
        for name in NAMES:
            os.utime(root / name, (change, change))
        look(root, cache)
        if change == 5:
            small = remembered(cache)

    assert remembered(cache) == small
    assert not read_again(root, cache)


def test_without_a_cache_folder_nothing_is_written(root: Path) -> None:
    before = sorted(root.parent.iterdir())

    look(root, None)

    assert sorted(root.parent.iterdir()) == before


def test_no_files_are_no_mistake(tmp_path: Path) -> None:
    assert scan([], root=tmp_path, cache=tmp_path, label="test") == []


def test_another_content_of_the_same_size_and_time_is_noticed(root: Path, cache: Path) -> None:
    look(root, cache)
    changed = root / NAMES[5]
    content, status = bytearray(changed.read_bytes()), changed.stat()
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))

    found = look(root, cache)

    assert changed.stat().st_mtime_ns == status.st_mtime_ns
    assert found == truth(root)
    assert found[5].digest == hashlib.sha256(content).digest()


def test_data_sets_that_are_mounted_at_the_same_place_are_told_apart(root: Path, cache: Path) -> None:
    other, mount = root.with_name("other"), root.with_name("mount")
    shutil.copytree(root, other)
    draw(other / NAMES[0], seed=99)
    expected = {}
    for data in (root, other):  # each is scanned at the same place
        expected[data] = truth(data)
        data.rename(mount)
        assert look(mount, cache) == expected[data]
        mount.rename(data)

    for data in (root, other):
        data.rename(mount)
        assert not read_again(mount, cache)
        assert look(mount, cache) == expected[data]
        mount.rename(data)


def test_a_file_that_vanishes_after_it_was_listed_has_a_reason(root: Path, cache: Path) -> None:
    (root / NAMES[2]).unlink()

    found = scan(NAMES, root=root, cache=cache, label="test")

    assert found[2] == Scanned(b"", "no longer there")
    assert [scanned.reason for scanned in found].count(None) == 10


def test_a_file_that_may_not_be_read_is_read_once_it_may(unprivileged: Path) -> None:
    root, cache = unprivileged / "root", unprivileged / "cache"
    root.mkdir()
    draw(root / "a.png", seed=0)
    (root / "a.png").chmod(0)

    assert look(root, cache) == [Scanned(b"", "permission denied")]
    (root / "a.png").chmod(0o600)
    assert look(root, cache) == truth(root)
    assert look(root, cache)[0].reason is None


def test_what_one_user_may_not_read_is_read_by_another(unprivileged: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("there is no second user to become")
    root, cache = unprivileged / "root", unprivileged / "cache"
    root.mkdir()
    draw(root / "a.png", seed=0)
    (root / "a.png").chmod(0)

    assert look(root, cache) == [Scanned(b"", "permission denied")]
    os.seteuid(0)
    assert look(root, cache) == truth(root)
    assert look(root, cache)[0].reason is None


@pytest.mark.timeout(20)
def test_a_named_pipe_is_not_waited_for(root: Path, cache: Path) -> None:
    os.mkfifo(root / "pipe.jpg")

    assert look(root, cache)[-1] == Scanned(b"", "a named pipe, not a file")


def test_a_name_that_is_no_utf_8_is_remembered_as_well(root: Path, cache: Path) -> None:
    (root / NAMES[0]).rename(os.fsdecode(os.fsencode(root) + b"/caf\xe9.png"))

    first = look(root, cache)

    assert not read_again(root, cache)
    assert look(root, cache) == first == truth(root)


def test_a_file_from_the_far_future_is_remembered_as_well(root: Path, cache: Path) -> None:
    for name in NAMES:
        os.utime(root / name, (10**10, 10**10))  # the year 2286

    first = look(root, cache)

    assert not read_again(root, cache)
    assert look(root, cache) == first == truth(root)


def overwrite(file: Path, content: bytes, *, at: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_text("this is no database\n" * 99),
        lambda file: os.truncate(file, 50),
        lambda file: os.truncate(file, file.stat().st_size // 2),
        lambda file: overwrite(file, bytes(4000), at=4096),
        lambda file: overwrite(file, random.Random(0).randbytes(4000), at=4096),
        lambda file: overwrite(file, b"\xff" * 90, at=10),
        lambda file: sqlite3.connect(file).executescript("DROP TABLE scanned; CREATE TABLE scanned (file)"),
    ],
    ids=["text", "cut at 50 bytes", "cut in half", "zeros", "noise", "header", "other columns"],
)
def test_a_damaged_database_is_made_anew_with_a_warning(
    root: Path, cache: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    look(root, cache)
    damage(cache / "scan.sqlite")
    capsys.readouterr()

    assert look(root, cache) == truth(root)

    assert f"{cache / 'scan.sqlite'} is damaged" in capsys.readouterr().err
    assert not read_again(root, cache)
    assert capsys.readouterr().err == ""


def test_no_flipped_bit_of_the_database_changes_what_is_found(root: Path, cache: Path) -> None:
    expected, dice = look(root, cache), random.Random(1)
    whole = (cache / "scan.sqlite").read_bytes()
    used = [place for place, byte in enumerate(whole) if byte]

    for _ in range(60):
        damaged = bytearray(whole)
        for place in dice.sample(used, 4):
            damaged[place] ^= 1 << dice.randrange(8)
        (cache / "scan.sqlite").write_bytes(damaged)

        assert look(root, cache) == expected


def test_an_empty_database_is_as_good_as_none(root: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / "scan.sqlite").touch()  # what a kill at its first moment leaves

    assert look(root, cache) == truth(root)
    assert not read_again(root, cache)


@pytest.mark.parametrize("obstacle", ["file", "folder", "full disk"])
def test_a_cache_that_cannot_be_written_is_said_once_and_done_without(
    root: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    mount_disk: Callable[[Path, str], Path],
    fill: Callable[[Path], Path],
    obstacle: str,
) -> None:
    match obstacle:
        case "file":
            cache.write_text("a file")
        case "folder":
            (cache / "scan.sqlite").mkdir(parents=True)
        case _:
            fill(mount_disk(cache, "64k"))

    assert look(root, cache) == truth(root)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert f"not remembered in {cache / 'scan.sqlite'}" in lines[0]


def start(root: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCAN, root, cache]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("damaged", [False, True])
def test_several_processes_at_once_find_the_same(root: Path, cache: Path, damaged: bool) -> None:
    expected = "".join(f"{found.digest.hex()} {found.reason}\n" for found in truth(root))
    if damaged:
        cache.mkdir()
        (cache / "scan.sqlite").write_text("this is no database\n" * 99)

    answers = [process.communicate() for process in [start(root, cache) for _ in range(3)]]

    assert [output for output, _ in answers] == [expected] * 3
    assert "".join(errors for _, errors in answers).count("is damaged") == damaged
    assert not read_again(root, cache)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety files that take some time each to decode: seconds in all on one processor."""
    root = tmp_path_factory.mktemp("slow")
    Image.new("L", (4_000, 4_000)).save(root / "00.png", compress_level=1)
    for number in range(1, 90):
        (root / f"{number:02d}.png").write_bytes((root / "00.png").read_bytes() + bytes([number]))
    return root


def remembered(cache: Path) -> int:
    """How many files are in the database, which another process is writing."""
    if not (cache / "scan.sqlite").is_file():
        return 0
    with contextlib.closing(sqlite3.connect(cache / "scan.sqlite", timeout=10)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM scanned").fetchone()[0])
        except sqlite3.OperationalError:  # it has no table yet
            return 0


def wait_for_more(cache: Path, process: subprocess.Popen[str], *, than: int) -> None:
    while process.poll() is None and remembered(cache) <= than:
        time.sleep(0.01)


@pytest.mark.parametrize("ways", [[signal.SIGKILL, signal.SIGKILL], [signal.SIGINT]])
def test_a_scan_that_is_stopped_goes_on_where_it_was(
    slow: Path, cache: Path, ways: list[signal.Signals]
) -> None:
    seen = [0]
    for way in ways:
        process, started = start(slow, cache), time.monotonic()
        wait_for_more(cache, process, than=seen[-1])
        time.sleep(random.random() / 10)
        process.send_signal(way)
        stopped = time.monotonic()
        process.communicate()
        assert process.returncode == -way
        seen.append(remembered(cache))
        for_the_rest = (90 - seen[-1]) * (stopped - started) / (seen[-1] - seen[-2])
        assert time.monotonic() - stopped < for_the_rest / 4

    assert seen == sorted(set(seen))
    assert seen[-1] < 90
    found = look(slow, cache)
    assert {scanned.reason for scanned in found} == {None}
    assert [scanned.digest for scanned in found] == [
        hashlib.sha256(file.read_bytes()).digest() for file in sorted(slow.iterdir())
    ]


def test_progress_is_not_shown_where_nobody_watches(
    root: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    look(root, cache)

    assert capsys.readouterr() == ("", "")


def test_a_truncation_at_any_place_is_a_picture_or_a_reason(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(buffer, "JPEG")
    content = buffer.getvalue()
    for length in range(0, len(content), 7):
        (tmp_path / f"{length:05d}.jpg").write_bytes(content[:length])

    found = truth(tmp_path)

    assert found[0].reason == "empty file"
    assert all(scanned.reason for scanned in found)
