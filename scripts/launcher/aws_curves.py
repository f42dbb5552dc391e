"""The learning curves of a search on SageMaker, read from its trials' logs in CloudWatch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from launcher import aws_log, trials
from launcher.aws_log import Tail
from launcher.errors import SettingsError


@dataclass
class _Curve:
    """A trial's curve as far as its log was read."""

    log: Tail
    values: dict[int, float] = field(default_factory=dict)


class Curves:
    """The objective by epoch of each trial; every look reads what the log has more than at the last."""

    def __init__(self, regex: str, client: Any, say: Callable[[str], None]) -> None:
        self._regex = regex
        self._say = say
        self._logs = client
        self._curves: dict[str, _Curve] = {}
        self._refused = False

    def of(self, trial: str) -> dict[int, float]:
        """Return a trial's curve; empty where its log has none yet, or may not be read."""
        log = Tail(aws_log.TRAINING, f"{trial}/", self._logs)
        curve = self._curves.setdefault(trial, _Curve(log))
        if not self._refused:
            try:
                for _, line in curve.log.read():
                    self._take(line, curve)
            except SettingsError as error:
                self._refused = True
                self._say(f"learning curves are not shown: {error}")
        return dict(curve.values)

    def _take(self, message: str, curve: _Curve) -> None:
        if found := trials.reported(self._regex, message):
            objective, epoch = found
            curve.values[epoch or len(curve.values) + 1] = objective
