"""Whether an endpoint's answers are told from the training data's shares, and from chance."""

import random
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from launcher import drift
from launcher.errors import SettingsError

COUNTS = {f"{number:03d}.Breed": 20 + number for number in range(40)}


def drawn(weights: dict[str, int], count: int, seed: int) -> Counter[str]:
    return Counter(random.Random(seed).choices(list(weights), list(weights.values()), k=count))


def test_predictions_drawn_from_the_training_are_no_drift() -> None:
    drifts = [drift.measure(COUNTS, drawn(COUNTS, 500, seed), seed=seed).drifted for seed in range(60)]

    assert sum(drifts) <= 4  # one in a hundred, by chance


def test_a_breed_that_is_seen_far_more_often_is_drift_and_is_named() -> None:
    predictions = drawn({**COUNTS, "007.Breed": 100}, 1000, seed=1)

    found = drift.measure(COUNTS, predictions)

    assert found.drifted
    assert str(found).startswith("drift: ")
    assert "007.Breed" in str(found)


def test_few_predictions_are_not_judged() -> None:
    found = drift.measure(COUNTS, Counter({"007.Breed": 99}))

    assert not found.drifted
    assert str(found) == "99 predictions are too few to judge by: at least 100"


def test_no_predictions_at_all_and_those_of_another_model_are_told() -> None:
    found = drift.measure(COUNTS, Counter({"cat": 5}))

    assert (found.predictions, found.unknown, found.drifted) == (0, 5, False)


def test_the_plot_shows_the_breeds_that_differ_most(tmp_path: Path) -> None:
    drift.plot(drift.measure(COUNTS, drawn({**COUNTS, "007.Breed": 100}, 1000, 1)), tmp_path / "a/drift.png")

    with Image.open(tmp_path / "a/drift.png") as picture:
        assert picture.size[0] > 800
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 10


def test_what_the_training_had_is_read_from_the_jobs_own_list(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text('class,train,valid,test\n"1.A, b",3,1,1\n2.C,5,1,1\n')
    (tmp_path / "other.csv").write_text("name\nx\n")

    assert drift.training_counts(tmp_path / "classes.csv") == {"1.A, b": 3, "2.C": 5}
    for name in ("other.csv", "none.csv"):
        with pytest.raises(SettingsError, match=f"{name} does not say how many pictures"):
            drift.training_counts(tmp_path / name)
