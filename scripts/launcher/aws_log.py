"""Logs in CloudWatch: as they grow, and how they end, for people whose work has failed.

Called by `aws_training` and `aws_curves`, and by `aws_endpoint` and `aws_model_job`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from launcher import aws
from launcher.account import Account
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import given

LINES = 30
TRAINING = "/aws/sagemaker/TrainingJobs"  # one group for all jobs; a stream for each host, <job>/algo-1-…
# Milliseconds: lines of several hosts arrive in no certain order, so the last while is looked at again.
_LATE = 10_000


def last_lines(account: Account, group: str, since: float, *, stream: str = "") -> list[str]:
    """Return the last lines of a group since a time in seconds, or why there are none.

    With `stream` those of the streams whose names begin so.
    """
    logs = account.client("logs")
    which = given(logStreamNamePrefix=stream)
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, startTime=int(since * 1000), **which
    )
    try:
        with aws.explained(missing=f"there is no log {group}: nothing of it was started"):
            events = deque((event for page in pages for event in page["events"]), maxlen=LINES)
    except (SettingsError, WorkFailed) as error:
        return [f"its log is not shown: {error}"]
    if not events:
        return [f"its log {group} is empty"]
    return [f"its last log lines ({group}):", *(event["message"].rstrip() for event in events)]


@dataclass
class Tail:
    """Streams of a group, whose names begin alike; every line is read once."""

    group: str
    prefix: str
    client: Any
    _since: int = 0
    _seen: set[str] = field(default_factory=set)
    _refused: bool = False

    def lines(self, say: Callable[[str], None]) -> list[tuple[str, str]]:
        """Read as `read` does; a log that may not be read is said once, and is none from then on."""
        if self._refused:
            return []
        try:
            return self.read()
        except SettingsError as error:  # another identity may start jobs than read logs
            self._refused = True
            say(f"the log is not shown: {error}")
            return []

    def read(self) -> list[tuple[str, str]]:
        """Return the streams' names and lines that were not read before; none where there is no log yet.

        Raises SettingsError or WorkFailed when the log may not be read or AWS cannot be reached.
        """
        pages = self.client.get_paginator("filter_log_events").paginate(
            logGroupName=self.group, logStreamNamePrefix=self.prefix, startTime=self._since
        )
        with aws.explained():
            try:
                events = [event for page in pages for event in page["events"]]
            except self.client.exceptions.ResourceNotFoundException:  # nothing of the account has logged yet
                return []
        fresh = [event for event in events if event["eventId"] not in self._seen]
        self._since = max([self._since, *(event["timestamp"] - _LATE for event in events)])
        self._seen = {event["eventId"] for event in events if event["timestamp"] >= self._since}
        return [(event["logStreamName"], event["message"].rstrip("\n")) for event in fresh]
