"""Whether an endpoint names breeds as often as they stood in the training data. Called by monitor.py."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from launcher.errors import SettingsError

DRAWS = 5_000  # of as many predictions as there were, from the training's shares
SIGNIFICANT = 0.01
FEWEST = 100  # predictions, below which nothing is said
_SHOWN = 20
_STYLE: dict[Any, Any] = {
    "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False, "grid.alpha": 0.3,
    "text.parse_math": False,  # names are text, also those with a dollar sign
}  # fmt: skip


@dataclass(frozen=True)
class Drift:
    """How far the predictions are from the training data."""

    classes: tuple[str, ...]
    expected: np.ndarray  # shares of the training pictures, (classes,)
    found: np.ndarray  # shares of the predictions, (classes,)
    predictions: int
    distance: float  # total variation: the share of the predictions that would have to be other ones
    p_value: float  # of counts as far off, where nothing but chance is at work
    unknown: int  # predictions of no class of the training

    @property
    def drifted(self) -> bool:
        """Whether chance alone does not explain it."""
        return self.predictions >= FEWEST and self.p_value < SIGNIFICANT

    def __str__(self) -> str:
        """What that means, in words."""
        if self.predictions < FEWEST:
            return f"{self.predictions} predictions are too few to judge by: at least {FEWEST}"
        shift = (
            f"{self.distance:.0%} of {self.predictions:,} predictions name other breeds than the training had"
        )
        if not self.drifted:
            return f"no drift: {shift}, which chance alone does (p = {self.p_value:.2g})"
        more = np.argsort(self.expected - self.found)[:3]
        named = ", ".join(
            f"{self.classes[each]} {self.found[each]:.1%} instead of {self.expected[each]:.1%}"
            for each in more
        )
        return f"drift: {shift} (p = {self.p_value:.2g}): {named}"


def training_counts(file: Path) -> dict[str, int]:
    """Return the training pictures of each class from a job's classes.csv; SettingsError where it is none."""
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return {row["class"]: int(row["train"]) for row in csv.DictReader(stream)}
    except (OSError, KeyError, ValueError) as error:
        raise SettingsError(f"{file} does not say how many pictures each class had: {error}") from None


def measure(training: Mapping[str, int], predicted: Mapping[str, int], *, seed: int = 0) -> Drift:
    """Compare counts; the p-value is that of Pearson's chi-squared statistic, by Monte Carlo.

    Of many breeds and few predictions each the statistic's own distribution is not the one in the tables.
    """
    classes = tuple(sorted(training))
    expected = np.array([training[name] for name in classes], float)
    expected /= expected.sum()
    counts = np.array([predicted.get(name, 0) for name in classes])
    total = int(counts.sum())
    found = counts / max(total, 1)
    distance = float(np.abs(found - expected).sum() / 2)
    drawn = np.random.default_rng(seed).multinomial(total, expected, size=DRAWS)
    as_far = int((_chi_squared(drawn, expected) >= _chi_squared(counts, expected) - 1e-9).sum())
    unknown = sum(predicted.values()) - total
    return Drift(classes, expected, found, total, distance, (as_far + 1) / (DRAWS + 1), unknown)


def _chi_squared(counts: np.ndarray, expected: np.ndarray) -> Any:
    """Of one set of counts, (classes,), or of many, (sets, classes)."""
    wanted = expected * counts.sum(axis=-1, keepdims=True)
    return ((counts - wanted) ** 2 / np.maximum(wanted, 1e-12)).sum(axis=-1)


def plot(drift: Drift, file: Path) -> None:
    """Draw the breeds whose shares differ most, with both shares, as a PNG."""
    most = np.argsort(-np.abs(drift.found - drift.expected))[:_SHOWN][::-1]
    rows = np.arange(len(most))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, 1.6 + 0.32 * len(most)), layout="constrained")
        axes = figure.subplots()
        axes.barh(rows + 0.2, 100 * drift.expected[most], 0.4, label="training", color="#9aa4b1")
        axes.barh(rows - 0.2, 100 * drift.found[most], 0.4, label="predictions", color="#3b6ea5")
        axes.set_yticks(rows, [drift.classes[each] for each in most])
        axes.set_xlabel("percent")
        axes.set_title(str(drift).partition(":")[0] + f" in {drift.predictions:,} predictions", loc="left")
        axes.legend()
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=120)
