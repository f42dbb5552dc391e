"""The end of a log in CloudWatch, for people whose work has failed. Called by `aws_endpoint`."""

from collections import deque

from launcher import aws
from launcher.account import Account
from launcher.errors import SettingsError, WorkFailed

LINES = 30


def last_lines(account: Account, group: str, since: float) -> list[str]:
    """Return the last lines of a group's streams since a time in seconds, or why there are none."""
    logs = account.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=int(since * 1000))
    try:
        with aws.explained(missing=f"there is no log {group}: nothing of it was started"):
            events = deque((event for page in pages for event in page["events"]), maxlen=LINES)
    except (SettingsError, WorkFailed) as error:
        return [f"its log is not shown: {error}"]
    if not events:
        return [f"its log {group} is empty"]
    return [f"its last log lines ({group}):", *(event["message"].rstrip() for event in events)]
