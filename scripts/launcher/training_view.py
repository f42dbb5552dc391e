"""A training job on SageMaker as it goes on: its log and its changes, line by line, and how far it is.

Called by `aws_training`. On a terminal the last line says how far the job is; elsewhere there are only lines.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from launcher import costs, jobs
from launcher.waiting import Waiting
from trainer.metrics import EPOCH_REGEX

LAST_LINES = 20  # as a job that failed on this machine shows
_SHOWN = ("train:loss", "validation:accuracy")  # of all metrics, those that say how it is going


class View:
    """Passes on what is new, and keeps what is said at the end."""

    def __init__(self, say: Callable[[str], None], hourly: float | None) -> None:
        """`hourly` is what all of the job's machines cost; None where that is not known."""
        self.metrics: dict[str, float] = {}
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._say = say
        self._hourly = hourly
        self._epoch = 0
        self._told: dict[int, str] = {}
        self._waiting = Waiting(say)

    def __enter__(self) -> Self:
        self._waiting.__enter__()
        self._waiting.update("asking AWS")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.__exit__(kind, error, trace)

    def show(self, description: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Say what has changed and what was logged since the last time."""
        for number, change in enumerate(description.get("SecondaryStatusTransitions", [])):
            line = f"{change['Status']}: {change.get('StatusMessage', '')}".rstrip(": ")
            if self._told.get(number) != line:
                self._told[number] = line
                self._say(line)
        definitions = description["AlgorithmSpecification"].get("MetricDefinitions", [])
        for line in lines:
            self._say(line)
            self.last_lines.append(line)
            self._learn(line, definitions)
        self._waiting.update(self._how_far(description))

    def _learn(self, line: str, definitions: Iterable[Mapping[str, str]]) -> None:
        self.metrics |= jobs.final_metrics(line, definitions)
        if epoch := re.search(EPOCH_REGEX, line):
            self._epoch = int(epoch[1])

    def _how_far(self, description: Mapping[str, Any]) -> str:
        """One line: what it does, since when, at which epoch, how good it is, and what that has cost."""
        begun = description.get("TrainingStartTime")
        seconds = (datetime.now(UTC) - begun).total_seconds() if begun else 0
        epochs = description.get("HyperParameters", {}).get("epochs")
        parts = [f"{description['TrainingJobName']} {description.get('SecondaryStatus', '')}"]
        parts += [f"{seconds / 60:.0f} min"] if begun else []
        parts += [f"epoch {self._epoch}{f' of {epochs}' if epochs else ''}"] if self._epoch else []
        parts += [f"{name} {self.metrics[name]:.4g}" for name in _SHOWN if name in self.metrics]
        parts += [f"{costs.money(self._hourly * seconds / 3600)} at most"] if begun and self._hourly else []
        return " · ".join(parts)
