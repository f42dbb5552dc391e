"""The feature cache: found again by content, whole or absent on the disk, shared between processes."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from trainer import features
from trainer.features import FeatureTable

WIDTH = 5


def digests(*numbers: int) -> list[bytes]:
    return [hashlib.sha256(str(number).encode()).digest() for number in numbers]


def values(*numbers: int) -> np.ndarray:
    return np.array([[number + place / 10 for place in range(WIDTH)] for number in numbers], np.float32)


def open_table(cache: Path, **identity: str) -> FeatureTable:
    return FeatureTable(cache, backbone="net", width=WIDTH, identity=identity)


def fill(table: FeatureTable, *numbers: int) -> None:
    with table.computing():
        table.add([(digests(*numbers), values(*numbers))])
        table.merge()


def test_rows_are_found_again_in_any_order_and_subset(tmp_path: Path) -> None:
    fill(open_table(tmp_path), 1, 2, 3, 4)

    found = open_table(tmp_path).features(digests(4, 1, 1, 3))

    assert len(found) == 4
    assert np.array_equal(found.rows([3, 0, 1, 2]).numpy(), values(3, 4, 1, 1))
    assert found.rows([]).shape == (0, WIDTH)


def test_only_what_is_missing_is_asked_for_and_a_picture_that_stands_twice_once(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    fill(table, 1, 3)

    assert table.missing(digests(1, 2, 3, 2, 4)) == [1, 4]
    with pytest.raises(KeyError, match="2 features are not in"):
        table.features(digests(1, 2, 4))


def test_another_identity_has_other_features(tmp_path: Path) -> None:
    fill(open_table(tmp_path, weights="one"), 1)

    assert open_table(tmp_path, weights="one").missing(digests(1)) == []
    assert open_table(tmp_path, weights="other").missing(digests(1)) == [0]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "pickle"])
def test_a_damaged_shard_is_named_removed_and_made_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = open_table(tmp_path)
    fill(table, 1, 2)
    (shard,) = table.shard_files()
    content = shard.read_bytes()
    shard.write_bytes(
        {
            "cut": content[:-1],
            "flip": content[:-1] + bytes([content[-1] ^ 1]),
            "empty": b"",
            "pickle": b"\x80\x04N.",
        }[damage]
    )

    again = open_table(tmp_path)

    assert again.missing(digests(1, 2)) == [0, 1]
    assert f"{shard} is damaged" in capsys.readouterr().err
    fill(again, 1, 2)
    assert np.array_equal(again.features(digests(2)).rows([0]).numpy(), values(2))


def test_a_shard_whose_name_is_right_and_whose_rows_are_of_another_width_is_not_used(tmp_path: Path) -> None:
    wide = FeatureTable(tmp_path / "other", backbone="net", width=WIDTH + 1, identity={})
    with wide.computing():
        wide.add([(digests(1), np.zeros((1, WIDTH + 1), np.float32))])
    table = open_table(tmp_path)
    (shard,) = wide.shard_files()
    (table.folder / shard.name).write_bytes(shard.read_bytes())

    assert open_table(tmp_path).missing(digests(1)) == [0]


def test_many_small_shards_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_FLUSH_SECONDS", -1.0)  # a shard for every batch
    table = open_table(tmp_path)
    numbers = range(300)
    with table.computing():
        table.add((digests(number), values(number)) for number in numbers)
        assert 1 < len(table.shard_files()) <= 128  # a process may have few files open: see below
        table.merge()

    assert len(table.shard_files()) == 1
    found = open_table(tmp_path).features(digests(*numbers))
    assert np.array_equal(found.rows(list(numbers)).numpy(), values(*numbers))


FEW_FILES = """
import resource, sys
from pathlib import Path
from trainer import features
sys.path.insert(0, sys.argv[1])
from test_features import digests, open_table, values

first, last, files = map(int, sys.argv[3:])
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
if first == 0:
    features._OPEN_SHARDS = 10**6  # as by an older version, or by hosts that were killed
features._FLUSH_SECONDS = -1.0  # a shard for every picture
table = open_table(Path(sys.argv[2]))
with table.computing():
    table.add((digests(number), values(number)) for number in range(first, last))
"""


def test_a_long_extraction_needs_no_more_open_files_than_a_process_may_have(tmp_path: Path) -> None:
    def extract(first: int, last: int, *, files: int) -> None:
        here = str(Path(__file__).parent)
        command = [sys.executable, "-c", FEW_FILES, here, str(tmp_path), str(first), str(last), str(files)]
        subprocess.run(command, check=True)

    extract(0, 400, files=1024)
    assert len(list(tmp_path.rglob("features-*.npy"))) == 400

    extract(400, 800, files=320)

    table = open_table(tmp_path)
    found = table.features(digests(*range(800)))
    assert np.array_equal(found.rows(list(range(800))).numpy(), values(*range(800)))
    assert len(table.shard_files()) <= 128


def test_merging_leaves_large_shards_alone_and_keeps_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_MERGED_ROWS", 8)
    for start in range(0, 30, 3):
        fill(open_table(tmp_path), *range(start, start + 3))

    table = open_table(tmp_path)
    assert table.missing(digests(*range(30))) == []
    assert 30 / 8 <= len(table.shard_files()) <= 30 / 4 + 1


def test_hosts_that_merge_one_shared_folder_at_once_lose_nothing(tmp_path: Path) -> None:
    """As in containers on one machine, the writers have one process number: they are threads."""
    rounds, hosts, together = 40, 3, threading.Barrier(3)

    def host(_: int) -> np.ndarray:
        table = open_table(tmp_path)
        for number in range(rounds):
            together.wait(timeout=60)
            table.take_file(*shard_of(tmp_path / "away", number))
            table.merge()
        table.refresh()
        return table.features(digests(*range(rounds))).rows(list(range(rounds))).numpy()

    for number in range(rounds):
        shard_of(tmp_path / "away", number)
    with ThreadPoolExecutor(hosts) as pool:
        for found in pool.map(host, range(hosts)):
            assert np.array_equal(found, values(*range(rounds)))


def shard_of(cache: Path, number: int) -> tuple[str, bytes]:
    """Name and bytes of a shard with one row, as another host sends it."""
    table = open_table(cache / str(number))
    if not table.shard_files():
        fill(table, number)
    (file,) = table.shard_files()
    return file.name, file.read_bytes()


def test_shards_that_another_job_merges_while_they_are_read_are_read_merged(tmp_path: Path) -> None:
    for number in range(3):
        name, content = shard_of(tmp_path / "away", number)
        open_table(tmp_path).take_file(name, content)
    there = open_table(tmp_path).shards()
    read = [next(there)]

    open_table(tmp_path).merge()
    read += there

    copy = open_table(tmp_path / "copy")
    for name, content in read:
        copy.take_file(name, content)
    assert copy.missing(digests(0, 1, 2)) == []


def test_features_stay_readable_while_another_process_merges(tmp_path: Path) -> None:
    fill(open_table(tmp_path), 1, 2)
    reader = open_table(tmp_path).features(digests(1, 2))

    fill(open_table(tmp_path), 3)  # merges both shards into one and removes them

    assert np.array_equal(reader.rows([0, 1]).numpy(), values(1, 2))


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_features import digests, open_table, values
from trainer import features

features._FLUSH_SECONDS = -1.0
table = open_table(Path({cache!r}))
with table.computing():
    print("computing", flush=True)
    if {hold}:
        sys.stdin.readline()
    missing = table.missing(digests(*range({count})))
    def rows():
        for number in missing:
            time.sleep({pause})
            yield digests(number), values(number)
    table.add(rows())
print(len(missing), flush=True)
"""


def start_child(cache: Path, *, count: int, pause: float, hold: bool = False) -> subprocess.Popen[str]:
    program = CHILD.format(
        here=str(Path(__file__).parent), cache=str(cache), count=count, pause=pause, hold=hold
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", program], text=True, **pipes)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that fills a table of 1,000 rows, slowly."""
    process = start_child(tmp_path, count=1000, pause=0.01)
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_process_had_made_is_kept(tmp_path: Path, child: subprocess.Popen[str]) -> None:
    table = open_table(tmp_path)
    while len(table.shard_files()) < 5:
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    made = 1000 - len(open_table(tmp_path).missing(digests(*range(1000))))
    assert 5 <= made < 1000
    left_over = table.folder / ".features-0.npy.1.partial"  # as a kill within a write leaves it
    left_over.write_bytes(b"half")
    os.utime(left_over, (0, 0))
    finish = start_child(tmp_path, count=1000, pause=0)
    output, errors = finish.communicate(timeout=60)
    assert finish.returncode == 0, errors
    assert output.split()[-1] == str(1000 - made)
    assert not list(table.folder.glob(".*.partial"))
    found = open_table(tmp_path).features(digests(*range(1000)))
    assert np.array_equal(found.rows(list(range(1000))).numpy(), values(*range(1000)))


def test_a_second_process_waits_says_so_and_computes_nothing_twice(tmp_path: Path) -> None:
    first = start_child(tmp_path, count=100, pause=0, hold=True)
    assert first.stdout
    assert first.stdout.readline() == "computing\n"
    second = start_child(tmp_path, count=100, pause=0)
    assert second.stderr
    assert second.stderr.readline().startswith("waiting for another process that fills ")

    outputs = [first.communicate("go on\n", timeout=60)[0], second.communicate(timeout=60)[0]]

    assert [output.split()[-1] for output in outputs] == ["100", "0"]
