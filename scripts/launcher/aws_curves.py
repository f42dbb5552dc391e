"""The learning curves of a search on SageMaker, read from its trials' logs in CloudWatch."""

from collections.abc import Callable
from dataclasses import dataclass, field

from launcher import aws, trials
from launcher.errors import SettingsError

LOG_GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass
class _Curve:
    """A trial's curve as far as its log was read: up to the events `seen` of the millisecond `since`."""

    values: dict[int, float] = field(default_factory=dict)
    since: int = 0
    seen: set[str] = field(default_factory=set)


class Curves:
    """The objective by epoch of each trial; every look reads what the log has more than at the last."""

    def __init__(self, regex: str, say: Callable[[str], None]) -> None:
        self._regex = regex
        self._say = say
        self._logs = aws.client("logs")
        self._curves: dict[str, _Curve] = {}
        self._refused = False

    def of(self, trial: str) -> dict[int, float]:
        """Return a trial's curve; empty where its log has none yet, or may not be read."""
        curve = self._curves.setdefault(trial, _Curve())
        if not self._refused:
            try:
                with aws.explained():
                    self._read_on(trial, curve)
            except SettingsError as error:
                self._refused = True
                self._say(f"learning curves are not shown: {error}")
        return dict(curve.values)

    def _read_on(self, trial: str, curve: _Curve) -> None:
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=LOG_GROUP, logStreamNamePrefix=f"{trial}/", startTime=curve.since
        )
        try:
            events = [event for page in pages for event in page["events"]]
        except self._logs.exceptions.ResourceNotFoundException:  # no job of the account has logged yet
            return
        for event in events:
            if event["eventId"] not in curve.seen:
                self._take(event["message"], curve)
        curve.since = max((event["timestamp"] for event in events), default=curve.since)
        curve.seen = {event["eventId"] for event in events if event["timestamp"] == curve.since}

    def _take(self, message: str, curve: _Curve) -> None:
        if found := trials.reported(self._regex, message):
            objective, epoch = found
            curve.values[epoch or len(curve.values) + 1] = objective
