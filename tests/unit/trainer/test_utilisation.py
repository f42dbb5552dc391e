"""What a thread sees of the machine: CPU, memory, disk of a process and its children, whatever they do."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import torch

from trainer.cpus import cpu_limit
from trainer.utilisation import FIGURES, Sampler, find_gpu

CPU = torch.device("cpu")


@contextmanager
def sampling(*, interval: float = 0.02, most: int = 1200) -> Iterator[Sampler]:
    sampler = Sampler(CPU, interval=interval, most=most)
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.stop()


@contextmanager
def child(code: str) -> Iterator[int]:
    """Another process that says "ready" and then does what it should until it is ended; its number."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield process.pid
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_every_figure_has_a_value_for_every_sample_and_none_of_a_gpu_that_is_not_there() -> None:
    with sampling() as sampler:
        wait_for(lambda: len(sampler.as_dict()["seconds"]) >= 5)

    samples = sampler.as_dict()
    assert list(samples) == list(FIGURES)
    assert samples["gpu"] == samples["gpu_memory_gb"] == []
    assert {len(samples[name]) for name in list(FIGURES)[:5]} == {len(samples["seconds"])}
    assert samples["seconds"] == sorted(samples["seconds"])
    assert all(0 <= percent <= 100 for percent in samples["cpu"])


def test_the_work_of_a_child_counts() -> None:
    with child("print('ready', flush=True)\nwhile True: pass") as busy, sampling(interval=0.3) as sampler:
        before, begun = psutil.Process(busy).cpu_times().user, time.perf_counter()
        wait_for(lambda: len(sampler.as_dict()["cpu"]) >= 3)
        worked = psutil.Process(busy).cpu_times().user - before

    share = 100 * worked / (time.perf_counter() - begun) / cpu_limit()  # less on a busy machine
    assert max(sampler.as_dict()["cpu"]) > share / 2


def test_the_memory_of_a_child_counts_but_not_what_it_shares() -> None:
    held = bytearray(os.urandom(1)) * 300_000_000  # which a forked child shares
    with sampling() as sampler:
        wait_for(lambda: len(sampler.as_dict()["memory_gb"]) >= 1)
    alone = sampler.as_dict()["memory_gb"][0]
    allocate = "held = bytearray(b'1') * 200_000_000; import time; print('ready', flush=True); time.sleep(60)"

    with child(allocate), forked(), sampling() as sampler:
        wait_for(lambda: len(sampler.as_dict()["memory_gb"]) >= 1)

    assert len(held) == 300_000_000
    assert sampler.as_dict()["memory_gb"][0] - alone == pytest.approx(0.2, abs=0.05)


@contextmanager
def forked() -> Iterator[None]:
    """A child that is a copy of this process, as a loader is."""
    number = os.fork()
    if not number:
        time.sleep(60)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(number, 9)
        os.waitpid(number, 0)


def test_what_is_written_to_the_disk_counts(tmp_path: Path) -> None:
    with sampling(interval=0.2) as sampler:
        wait_for(lambda: len(sampler.as_dict()["seconds"]) >= 1)
        with (tmp_path / "file").open("wb") as stream:
            stream.write(bytes(50_000_000))
            stream.flush()
            os.fsync(stream.fileno())
        before = len(sampler.as_dict()["seconds"])
        wait_for(lambda: len(sampler.as_dict()["seconds"]) >= before + 2)

    samples = sampler.as_dict()
    intervals = [
        after - before for before, after in zip([0.0, *samples["seconds"]], samples["seconds"], strict=False)
    ]
    written = sum(rate * each for rate, each in zip(samples["disk_write_mb"], intervals, strict=True))
    assert written == pytest.approx(50, rel=0.3)


def test_children_that_end_while_they_are_looked_at_do_not_end_the_sampling() -> None:
    thrown: list[object] = []
    hook, threading.excepthook = threading.excepthook, thrown.append
    try:
        with sampling(interval=0.001) as sampler:
            for _ in range(40):
                children = [subprocess.Popen(["/bin/sleep", "0.01"]) for _ in range(4)]
                for each in children:
                    each.kill()
                time.sleep(0.005)  # zombies are looked at, too
                for each in children:
                    each.wait()
            count = len(sampler.as_dict()["seconds"])
            assert count > 20
            wait_for(lambda: len(sampler.as_dict()["seconds"]) > count)
    finally:
        threading.excepthook = hook
    assert not thrown


def test_many_samples_are_merged_in_pairs_and_taken_half_as_often() -> None:
    with sampling(interval=0.005, most=8) as sampler:
        wait_for(lambda: bool(sampler.as_dict()["seconds"]) and sampler.as_dict()["seconds"][-1] > 1)

    seconds = sampler.as_dict()["seconds"]
    assert 4 <= len(seconds) < 8
    assert seconds == sorted(seconds)
    gaps = [after - before for before, after in pairwise(seconds)]
    assert 0.05 < min(gaps) <= max(gaps) < 0.6


def test_the_thread_ends_at_once_and_does_not_keep_the_process() -> None:
    with sampling(interval=60):
        begun = time.monotonic()
    assert time.monotonic() - begun < 0.2
    wait_for(lambda: all(thread.name != "utilisation" for thread in threading.enumerate()), 0.5)

    program = "import torch; from trainer.utilisation import Sampler; Sampler(torch.device('cpu')).start()"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_a_gpu_that_nvml_does_not_know_is_none() -> None:
    assert find_gpu("00000000-0000-0000-0000-000000000000") is None
