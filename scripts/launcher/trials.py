"""A search's trials as a person reads them, wherever they ran, and the files that they end in.

`study` makes them of what Optuna knows, `aws_search` of what SageMaker answers; the table and the report show
them. The words for a trial's status are the API's.
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.metrics import EPOCH_REGEX

Status = Literal["InProgress", "Completed", "Stopped", "Failed"]


@dataclass(frozen=True)
class Trial:
    """One training job of a search.

    `values` are the searched hyperparameters as texts; `objective` is the latest that the job reported,
    `curve` all of them by epoch; `cost` is in dollars, None where nothing is charged.
    """

    name: str
    status: Status
    values: Mapping[str, str]
    objective: float | None
    curve: Mapping[int, float]
    seconds: float
    cost: float | None = None
    failure: str = ""

    @property
    def is_judged(self) -> bool:
        """Whether it has ended, and its objective is a number: what a search goes by."""
        ended = self.status in {"Completed", "Stopped"}
        return ended and self.objective is not None and math.isfinite(self.objective)


def reported(regex: str, line: str) -> tuple[float, int | None] | None:
    """Return the objective that a line of a trial's log reports, and its epoch where it names one."""
    found, epoch = re.search(regex, line), re.search(EPOCH_REGEX, line)
    try:
        return (float(found[1]), int(epoch[1]) if epoch else None) if found else None
    except (IndexError, TypeError, ValueError):  # what the request's expression has found is no number
        return None


def best(trials: Iterable[Trial], *, maximize: bool) -> Trial | None:
    """Return the trial with the best objective, the earlier one of two; None where none has any."""
    sign = 1 if maximize else -1
    judged = (trial for trial in trials if trial.is_judged)
    return max(judged, key=lambda trial: sign * (trial.objective or 0.0), default=None)


def shown(text: str) -> str:
    """A hyperparameter's text for a table: numbers short, texts without their quotes."""
    value = decoded(text)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def decoded(text: str) -> Any:
    """Read a value as the training toolkit does: JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def write_csv(trials: Sequence[Trial], names: Sequence[str], target: Path) -> None:
    """Write one row a trial; `names` are the searched hyperparameters."""
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trial", "status", *names, "objective", "seconds", "cost", "failure"])
        for trial in trials:
            values = [decoded(trial.values[name]) if name in trial.values else "" for name in names]
            objective = "" if trial.objective is None else trial.objective
            cost = "" if trial.cost is None else round(trial.cost, 4)
            first = trial.failure.partition("\n")[0]
            writer.writerow(
                [trial.name, trial.status, *values, objective, round(trial.seconds, 1), cost, first]
            )


def write_best(trial: Trial, static: Mapping[str, str], target: Path) -> None:
    """Write all hyperparameters of a trial, as launch_training.py takes them with --hyperparameters."""
    values = {name: decoded(text) for name, text in {**static, **trial.values}.items()}
    target.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
