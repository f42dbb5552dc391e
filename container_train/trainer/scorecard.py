"""The report card: how good the trained model is on the test split, and where it goes wrong.

Pure functions on logits. The job calls `score` once, prints its `lines`, puts `as_dict` into
artifact.json under `report_card`, and leaves `write_report_card`'s two files beside the predictions.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from trainer.calibration import expected_calibration_error
from trainer.labels import label_of

_CONFUSIONS = 10
_SHOWN = 5


@dataclass(frozen=True)
class ClassScore:
    """One class: the share of its pictures named right (`None` without pictures), and their number."""

    accuracy: float | None
    pictures: int


@dataclass(frozen=True)
class Confusion:
    """`count` pictures of class `truth`, a `share` of all of them, were called `answer`."""

    truth: str
    answer: str
    count: int
    share: float


@dataclass(frozen=True)
class Scorecard:
    """Figures of one split; shares and errors are from 0 to 1.

    `accuracy_interval` is the 95 % Wilson interval; `per_class` is in the order of the logits,
    `confusions` holds the most frequent first. `calibration_error_before` is without the temperature.
    """

    pictures: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    top5: float
    per_class: dict[str, ClassScore]
    confusions: list[Confusion]
    expected_calibration_error: float
    calibration_error_before: float
    temperature: float

    def as_dict(self) -> dict[str, Any]:
        """The `report_card` object of artifact.json; every number is finite."""
        low, high = self.accuracy_interval
        return {**asdict(self), "accuracy_interval": {"low": low, "high": high}}

    def lines(self) -> list[str]:
        """What a person wants to know first, one fact a line."""
        low, high = self.accuracy_interval
        result = [
            f"accuracy {self.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}, {self.pictures} pictures)",
            f"right answer among the first {min(5, len(self.per_class))}: {self.top5:.1%}",
            f"expected calibration error {self.calibration_error_before:.1%} → "
            f"{self.expected_calibration_error:.1%} with temperature {self.temperature:.3g}",
            f"hardest classes: {', '.join(self._hardest())}",
        ]
        confused = [
            f"{label_of(pair.truth)} called {label_of(pair.answer)} ({pair.count}, {pair.share:.0%})"
            for pair in self.confusions[:_SHOWN]
        ]
        return [*result, f"most frequent confusions: {', '.join(confused)}"] if confused else result

    def _hardest(self) -> list[str]:
        scored = [
            (entry.accuracy, name, entry.pictures)
            for name, entry in self.per_class.items()
            if entry.accuracy is not None
        ]
        hardest = sorted(scored, key=lambda entry: entry[0])[:_SHOWN]
        return [f"{label_of(name)} {accuracy:.0%} of {pictures}" for accuracy, name, pictures in hardest]


def score(logits: Tensor, targets: Tensor, *, classes: Sequence[str], temperature: float) -> Scorecard:
    """The report card of logits (N, C), as they were before the temperature, against targets (N).

    `classes` names the columns. Between equal logits the first class wins. Raises `ValueError`
    without pictures.
    """
    if not len(targets):
        raise ValueError("there are no pictures to score")
    logits = logits.double()
    hits = logits.sort(dim=1, descending=True, stable=True).indices == targets[:, None]
    correct = int(hits[:, 0].sum())
    confusion = confusion_matrix(logits, targets)
    return Scorecard(
        pictures=len(targets),
        accuracy=correct / len(targets),
        accuracy_interval=wilson_interval(correct, len(targets)),
        top5=int(hits[:, :5].sum()) / len(targets),
        per_class=_per_class(confusion, classes),
        confusions=_confusions(confusion, classes),
        expected_calibration_error=_calibration_error(logits / temperature, targets),
        calibration_error_before=_calibration_error(logits, targets),
        temperature=temperature,
    )


def confusion_matrix(logits: Tensor, targets: Tensor) -> Tensor:
    """How often each class (row) was given each answer (column): (C, C) int64."""
    classes = logits.shape[1]
    return torch.bincount(targets * classes + logits.argmax(dim=1), minlength=classes**2).view(classes, -1)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a share without continuity correction, E. B. Wilson 1927.

    Unlike the share plus or minus two standard errors it stays within 0 and 1 and is no point
    where all or none succeed.
    """
    z, share = NormalDist().inv_cdf(0.975), successes / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low, high = (middle - half) / (1 + z * z / trials), (middle + half) / (1 + z * z / trials)
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def write_report_card(folder: Path, card: Scorecard, confusion: Tensor) -> None:
    """Write `report_card.json`, and `confusion.csv` with a row for each class and a column for each answer.

    `confusion` is `confusion_matrix`'s, its classes in the order of the card's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "report_card.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "confusion.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["truth", *card.per_class])
        writer.writerows(
            [name, *counts] for name, counts in zip(card.per_class, confusion.tolist(), strict=True)
        )


def _per_class(confusion: Tensor, classes: Sequence[str]) -> dict[str, ClassScore]:
    figures = zip(classes, confusion.diagonal().tolist(), confusion.sum(dim=1).tolist(), strict=True)
    return {
        name: ClassScore(right / pictures if pictures else None, pictures)
        for name, right, pictures in figures
    }


def _confusions(confusion: Tensor, classes: Sequence[str]) -> list[Confusion]:
    """The pairs with the highest counts; between equals the larger share, then the order of the classes."""
    pictures = confusion.sum(dim=1).tolist()
    wrong = [
        Confusion(classes[truth], classes[answer], count, count / pictures[truth])
        for truth, row in enumerate(confusion.tolist())
        for answer, count in enumerate(row)
        if count and truth != answer
    ]
    return sorted(wrong, key=lambda pair: (-pair.count, -pair.share))[:_CONFUSIONS]


def _calibration_error(logits: Tensor, targets: Tensor) -> float:
    return expected_calibration_error(torch.softmax(logits, dim=1), targets)
