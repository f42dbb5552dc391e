"""The metrics that training reports: their names, their lines, the regexes that read the lines.

The only definition of both sides. Standard library only: `launcher` imports this one module
to fill `MetricDefinitions` in its requests.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "[metrics]"
EPOCH_REGEX = r"\bepoch=(\d+)"
_NUMBER = r"(nan|-?inf|[-+0-9.eE]+)"


@dataclass(frozen=True)
class Metric:
    """One reported figure; `better` is `lower`, `higher`, or empty where neither is."""

    name: str
    better: str
    meaning: str

    @property
    def regex(self) -> str:
        """What SageMaker searches each log line for; the first group is the value."""
        return f"{re.escape(self.name)}={_NUMBER}"


METRICS = (
    Metric("extract:images_per_second", "higher", "throughput of computing the frozen backbone's features"),
    Metric("train:loss", "lower", "mean cross-entropy of the epoch's training pictures"),
    Metric("train:accuracy", "higher", "share of the epoch's training pictures named right"),
    Metric("train:images_per_second", "higher", "training throughput of the epoch"),
    Metric("train:data_wait", "lower", "share of the epoch's time spent waiting for the next batch"),
    Metric("validation:loss", "lower", "mean cross-entropy over the valid split"),
    Metric("validation:accuracy", "higher", "share of the valid split named right"),
    Metric("test:loss", "lower", "mean cross-entropy over the test split, once, of the best epoch"),
    Metric("test:accuracy", "higher", "share of the test split named right, once, of the best epoch"),
    Metric(
        "test:top5_accuracy", "higher", "share of the test split whose right name is among the first five"
    ),
    Metric(
        "test:expected_calibration_error",
        "lower",
        "mean distance of confidence from accuracy over the test split, after the temperature",
    ),
)

NAMES = frozenset(metric.name for metric in METRICS)


def metric_definitions() -> list[dict[str, str]]:
    """`AlgorithmSpecification.MetricDefinitions` of CreateTrainingJob."""
    return [{"Name": metric.name, "Regex": metric.regex} for metric in METRICS]


def metric_line(values: Mapping[str, float], *, epoch: int | None = None) -> str:
    """One line of metrics without its line end; raises `KeyError` for a name outside the table."""
    for name in values:
        if name not in NAMES:
            raise KeyError(f"{name!r} is not in trainer.metrics.METRICS")
    head = [PREFIX] if epoch is None else [PREFIX, f"epoch={epoch}"]
    return " ".join(head + [f"{name}={value:.6g}" for name, value in values.items()])


def write_metrics(values: Mapping[str, float], *, epoch: int | None = None) -> None:
    """Write one metric line to stdout.

    A single write: the toolkit prints what it reads from the pipe piece by piece, so a line
    written in pieces is split over several log lines, and no regex finds it.
    """
    sys.stdout.write(metric_line(values, epoch=epoch) + "\n")
    sys.stdout.flush()
