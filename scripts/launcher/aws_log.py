"""The end of a log in CloudWatch, for people whose work has failed.

Called by `aws_endpoint` and `aws_transform`.
"""

from collections import deque

from launcher import aws
from launcher.account import Account
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import given

LINES = 30


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
