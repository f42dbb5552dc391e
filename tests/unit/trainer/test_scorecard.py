"""The report card: figures that can be recomputed by hand, and files that any reader takes."""

import csv
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from trainer.scorecard import (
    ClassScore,
    Confusion,
    confusion_matrix,
    score,
    wilson_interval,
    write_report_card,
)

BREEDS = ("001.Affenpinscher", "002.Afghan_hound", "003.Airedale_terrier")


def numbered(classes: int) -> list[str]:
    """Class names."""
    return [f"{number:03}.breed" for number in range(classes)]


def answering(answers: list[int], *, classes: int = 3, sure: float = 2.0) -> Tensor:
    """Logits that give these answers."""
    return functional.one_hot(torch.tensor(answers), classes) * sure


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_the_published_one(successes: int, trials: int, low: float, high: float) -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    assert wilson_interval(successes, trials) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 100_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_the_interval_holds_the_share_and_mirrors_with_it(counts: tuple[int, int]) -> None:
    successes, trials = counts

    low, high = wilson_interval(successes, trials)

    assert 0 <= low <= successes / trials <= high <= 1
    assert low < high
    assert wilson_interval(trials - successes, trials) == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_the_card_counts_right_answers_and_confusions_by_class() -> None:
    targets = torch.tensor([0, 0, 0, 0, 1, 1, 2])

    card = score(answering([0, 1, 1, 2, 1, 0, 2]), targets, classes=BREEDS, temperature=1.0)

    affenpinscher, hound, terrier = BREEDS
    assert card.pictures == 7
    assert card.accuracy == pytest.approx(3 / 7)
    assert card.accuracy_interval == wilson_interval(3, 7)
    assert card.per_class == {
        affenpinscher: ClassScore(0.25, 4), hound: ClassScore(0.5, 2), terrier: ClassScore(1.0, 1),
    }  # fmt: skip
    assert card.confusions == [
        Confusion(affenpinscher, hound, 2, 0.5),
        Confusion(hound, affenpinscher, 1, 0.5),
        Confusion(affenpinscher, terrier, 1, 0.25),
    ]


def test_a_class_without_pictures_has_no_accuracy_and_spoils_nothing() -> None:
    card = score(answering([0, 2]), torch.tensor([0, 1]), classes=BREEDS, temperature=1.0)

    assert card.per_class["003.Airedale_terrier"] == ClassScore(None, 0)
    assert card.accuracy == 0.5
    assert not any("Airedale terrier 0" in line for line in card.lines())


def test_the_first_five_answers_count() -> None:
    logits = torch.arange(7.0).flip(0).repeat(7, 1)  # ranks the classes 0, 1, 2, … for every picture

    card = score(logits, torch.arange(7), classes=numbered(7), temperature=1.0)

    assert card.accuracy == pytest.approx(1 / 7)
    assert card.top5 == pytest.approx(5 / 7)


def test_with_fewer_than_five_classes_every_answer_is_among_the_first() -> None:
    card = score(answering([1, 2, 0]), torch.tensor([0, 0, 0]), classes=BREEDS, temperature=1.0)

    assert card.top5 == 1.0
    assert any("among the first 3: 100.0%" in line for line in card.lines())


def test_a_model_that_knows_nothing_is_not_given_the_benefit_of_equal_logits() -> None:
    card = score(
        torch.zeros(20, 10),
        torch.arange(20) % 10,
        classes=numbered(10),
        temperature=1.0,
    )

    assert card.accuracy == pytest.approx(0.1)
    assert card.top5 == pytest.approx(0.5)


def test_the_temperature_changes_the_calibration_and_nothing_else() -> None:
    # 12 of 16 right while 98 % sure; with T = 4 / ln 3 two classes are 75 % sure.
    logits, targets = answering([0] * 16, classes=2, sure=4.0), torch.tensor([0] * 12 + [1] * 4)
    classes = ("001.Affenpinscher", "002.Afghan_hound")

    plain = score(logits, targets, classes=classes, temperature=1.0)
    card = score(logits, targets, classes=classes, temperature=4 / 1.0986122886681098)

    assert card.calibration_error_before == plain.expected_calibration_error == pytest.approx(0.232, abs=1e-3)
    assert card.expected_calibration_error == pytest.approx(0, abs=1e-9)
    assert (card.accuracy, card.confusions) == (plain.accuracy, plain.confusions)


def test_there_must_be_pictures() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        score(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), classes=BREEDS, temperature=1.0)


def test_the_lines_name_what_a_person_looks_for_first() -> None:
    targets = torch.tensor([0] * 8 + [1] * 2)

    card = score(answering([0] * 7 + [1] + [0] * 2, sure=5.0), targets, classes=BREEDS, temperature=2.0)

    assert card.lines() == [
        "accuracy 70.0% (95 % interval 39.7% to 89.2%, 10 pictures)",
        "right answer among the first 3: 100.0%",
        "expected calibration error 28.7% → 15.9% with temperature 2",
        "hardest classes: Afghan hound 0% of 2, Affenpinscher 88% of 8",
        "most frequent confusions: Afghan hound called Affenpinscher (2, 100%), "
        "Affenpinscher called Afghan hound (1, 12%)",
    ]


def test_a_model_without_mistakes_has_no_line_of_confusions() -> None:
    card = score(answering([0, 1, 2]), torch.arange(3), classes=BREEDS, temperature=1.0)

    assert card.confusions == []
    assert not any("confusion" in line for line in card.lines())


def test_at_most_ten_confusions_are_listed() -> None:
    classes = [f"{number}" for number in range(12)]

    card = score(
        answering(list(range(12)), classes=12), torch.arange(12).roll(1), classes=classes, temperature=1.0
    )

    assert len(card.confusions) == 10


@settings(deadline=None, max_examples=50)
@given(
    pictures=st.integers(1, 20),
    classes=st.integers(2, 12),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 1e4]),
    temperature=st.sampled_from([0.05, 1.0, 20.0]),
    seed=st.integers(0, 2**31),
)
def test_every_card_is_json_and_its_figures_agree(
    pictures: int, classes: int, scale: float, temperature: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(pictures, classes, generator=generator)
    targets = torch.randint(classes, (pictures,), generator=generator)

    card = score(logits, targets, classes=numbered(classes), temperature=temperature)

    described = json.loads(json.dumps(card.as_dict(), allow_nan=False))
    assert (
        described["accuracy_interval"]["low"]
        <= described["accuracy"]
        <= described["accuracy_interval"]["high"]
    )
    assert card.accuracy <= card.top5 <= 1
    assert sum(entry["pictures"] for entry in described["per_class"].values()) == pictures
    right = sum((entry.accuracy or 0) * entry.pictures for entry in card.per_class.values())
    assert right == pytest.approx(card.accuracy * pictures)
    assert sum(pair.count for pair in card.confusions) <= pictures - round(right)


def test_the_files_hold_the_card_and_the_whole_matrix(tmp_path: Path) -> None:
    logits, targets = answering([0, 1, 1, 2]), torch.tensor([0, 0, 1, 2])
    card = score(logits, targets, classes=BREEDS, temperature=1.5)

    write_report_card(tmp_path / "output" / "data", card, confusion_matrix(logits, targets))

    folder = tmp_path / "output" / "data"
    assert json.loads((folder / "report_card.json").read_text(encoding="utf-8")) == card.as_dict() | {
        "confusions": [{"truth": "001.Affenpinscher", "answer": "002.Afghan_hound", "count": 1, "share": 0.5}]
    }
    with (folder / "confusion.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream)) == [
            ["truth", *BREEDS],
            [BREEDS[0], "1", "1", "0"],
            [BREEDS[1], "0", "1", "0"],
            [BREEDS[2], "0", "0", "1"],
        ]
