"""Counting right answers, and choosing which pictures to show."""

from pathlib import Path
from typing import Any

import pytest

from launcher import demonstration, evaluation
from launcher.errors import WorkFailed
from launcher.evaluation import Accuracy
from launcher.jobs import FinishedJob
from launcher.predictions import Prediction, Ranked


def test_unreadable_files_are_counted_apart_from_right_and_wrong() -> None:
    akita = (Ranked("001.Akita", "Akita", 0.9),)
    classes = {Path("a.jpg"): "001.Akita", Path("b.jpg"): "002.Beagle", Path("c.jpg"): "002.Beagle"}
    answers = {
        Path("a.jpg"): Prediction("a", akita),
        Path("b.jpg"): Prediction("b", akita),
        Path("c.jpg"): Prediction("c", error="400 bad_request: not a picture"),
    }

    measured = evaluation.accuracy(answers, classes)

    assert (measured.right, measured.answered, measured.share) == (1, 2, 0.5)
    assert [each.file for each in measured.unreadable] == ["c"]


def test_examples_are_of_different_classes_and_the_same_for_the_same_seed() -> None:
    files = {Path(f"{breed}-{number}.jpg"): f"{breed:03}" for breed in range(20) for number in range(9)}

    chosen = evaluation.choose(files, 6, seed=1)

    assert len({files[file] for file in chosen}) == 6
    assert chosen == evaluation.choose(files, 6, seed=1)
    assert chosen != evaluation.choose(files, 6, seed=2)


def test_a_pictures_class_is_the_folder_below_the_split_however_deep_it_lies(tmp_path: Path) -> None:
    for name in ("001.Akita/a.png", "001.Akita/puppies/b.png", ".hidden/c.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    classes = evaluation.split_files(tmp_path)

    assert {file.name: name for file, name in classes.items()} == {"a.png": "001.Akita", "b.png": "001.Akita"}


def own(precision: dict[str, Any], **metrics: float) -> float | None:
    job = FinishedJob("job", Path("runs/job"), Path("runs/job/output/model.tar.gz"), metrics)
    return demonstration.served_accuracy(job, {"precision": precision})


def test_the_endpoint_is_held_to_what_the_job_measured_of_the_network_that_is_served() -> None:
    assert own({"chosen": "f32"}, **{"test:accuracy": 0.97}) == 0.97
    assert own({"chosen": "int8", "test_accuracy": 0.95}, **{"test:accuracy": 0.97}) == 0.95


@pytest.mark.parametrize(
    ("closest", "too_far", "trained"),
    [
        (Accuracy(829, 1000, ()), Accuracy(827, 1000, ()), 0.838),  # a point of accuracy
        (Accuracy(8, 10, ()), Accuracy(7, 10, ()), 0.9),  # one picture, which is more in a small split
    ],
)
def test_an_endpoint_may_answer_a_little_otherwise_than_the_trained_model(
    closest: Accuracy, too_far: Accuracy, trained: float
) -> None:
    demonstration.check(closest, trained)

    with pytest.raises(WorkFailed, match="not that of the training job"):
        demonstration.check(too_far, trained)


@pytest.mark.parametrize(
    ("measured", "trained", "message"),
    [
        (Accuracy(0, 0, ()), 0.838, "could read none"),
        (Accuracy(10, 10, ()), own({}), "no test:accuracy"),
    ],
)
def test_figures_that_contradict_each_other_fail_the_demo(
    measured: Accuracy, trained: float | None, message: str
) -> None:
    with pytest.raises(WorkFailed, match=message):
        demonstration.check(measured, trained)
