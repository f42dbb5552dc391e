"""A worker takes more than one CPU only while the others leave room."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from running_server import CODE
from tiny_artifact import write_tiny_artifact

from predictor.images import View
from predictor.model import Model, load_model
from predictor.neighbours import Neighbours

ANSWERING = """
import sys
from pathlib import Path
from predictor.neighbours import Neighbours
with Neighbours(Path(sys.argv[1]), cpus=2).answering():
    print("answering", flush=True)
    sys.stdin.read()
"""

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What the workers share."""
    return tmp_path / "answering"


@pytest.fixture
def start_worker(file: Path) -> Iterator[Start]:
    """Starts another process that is answering until its standard input ends."""
    started: list[subprocess.Popen[str]] = []

    def start() -> "subprocess.Popen[str]":
        worker = subprocess.Popen(
            [sys.executable, "-c", ANSWERING, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(CODE)},
        )
        started.append(worker)
        assert worker.stdout
        assert worker.stdout.readline() == "answering\n"
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.communicate()


def test_a_worker_that_answers_alone_has_all_cpus(file: Path) -> None:
    neighbours = Neighbours(file, cpus=2)
    with neighbours.answering():
        assert neighbours.leave_room(2)
        assert not neighbours.leave_room(3)


def test_every_worker_that_answers_is_counted(file: Path, start_worker: Start) -> None:
    neighbours = Neighbours(file, cpus=8)
    for _ in range(3):
        start_worker()
    assert neighbours.leave_room(2)
    assert not neighbours.leave_room(3)


def test_a_worker_that_has_answered_is_no_longer_counted(file: Path, start_worker: Start) -> None:
    neighbours = Neighbours(file, cpus=2)
    worker = start_worker()
    assert not neighbours.leave_room(2)
    worker.communicate()
    assert neighbours.leave_room(2)


def test_a_worker_that_was_killed_is_no_longer_counted(file: Path, start_worker: Start) -> None:
    neighbours = Neighbours(file, cpus=2)
    worker = start_worker()
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert neighbours.leave_room(2)


@pytest.fixture
def model(artifact_folder: Path, tmp_path: Path, file: Path) -> Model:
    """Its narrow engine is another network's, so that answers tell which engine gave them."""
    neighbours = Neighbours(file, cpus=2)
    wide = load_model(artifact_folder, threads=2, neighbours=neighbours)
    other = write_tiny_artifact(tmp_path / "other", seed=8)
    return Model(wide.artifact, wide.engine, wide.version, load_model(other, threads=1).engine, neighbours)


def test_a_model_takes_one_thread_while_another_worker_answers(model: Model, start_worker: Start) -> None:
    view = View(np.full((224, 224, 3), 99, dtype=np.uint8), (0, 0, 224, 224))
    (alone,) = model.infer_views([view])
    start_worker()
    (beside,) = model.infer_views([view])
    assert model.narrow
    np.testing.assert_array_equal(alone.logits, model.engine.infer([view.pixels])[0])
    np.testing.assert_array_equal(beside.logits, model.narrow.infer([view.pixels])[0])
    assert not np.array_equal(alone.logits, beside.logits)


def test_both_engines_of_a_model_give_the_same_logits(artifact_folder: Path, file: Path) -> None:
    model = load_model(artifact_folder, threads=2, neighbours=Neighbours(file, cpus=2))
    rng = np.random.default_rng(4)
    images = list(rng.integers(0, 256, (4, 224, 224, 3), dtype=np.uint8))
    assert model.narrow
    np.testing.assert_array_equal(model.engine.infer(images), model.narrow.infer(images))
