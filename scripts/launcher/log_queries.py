"""Questions to an endpoint's log: which requests failed, which were slow. Called by monitor.py.

The container writes one line of JSON a request (docs/http.md), whose fields CloudWatch Logs Insights knows.
"""

import time
from typing import Any

from launcher import aws
from launcher.account import Account
from launcher.errors import SettingsError, WorkFailed

GROUP = "/aws/sagemaker/Endpoints/"
_FIELDS = "fields @timestamp, id, status, path, bytes_in, ms, decode_ms, infer_ms"
QUERIES = {
    "errors": f"{_FIELDS} | filter status >= 400 | sort @timestamp desc | limit 50",
    "slow": f"{_FIELDS} | filter ispresent(ms) and status = 200 | sort ms desc | limit 50",
    "latency": "filter path = '/invocations' | stats count(*) as requests, pct(ms, 50) as p50, "
    "pct(ms, 90) as p90, pct(ms, 99) as p99, sum(status >= 500) as errors by bin(5m) as since "
    "| sort since asc",
}
POLL_SECONDS = 1.0
TIMEOUT_SECONDS = 120.0

Row = dict[str, str]


def ask(account: Account, endpoint: str, query: str, *, hours: float) -> list[Row]:
    """Return the rows that answer one of QUERIES about the last hours.

    Raises SettingsError where the endpoint has no log, and WorkFailed where the query has no answer.
    """
    logs, now = account.client("logs"), time.time()
    with aws.explained():
        try:
            begun = logs.start_query(
                logGroupName=f"{GROUP}{endpoint}",
                startTime=int(now - hours * 3600),
                endTime=int(now),
                queryString=QUERIES[query],
            )
        except logs.exceptions.ResourceNotFoundException:
            raise SettingsError(f"there is no log of {endpoint}: it has never been started") from None
        return [_row(entry) for entry in _results(logs, begun["queryId"])]


def _results(logs: Any, query_id: str) -> list[list[dict[str, str]]]:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        answer = logs.get_query_results(queryId=query_id)
        if answer["status"] == "Complete":
            results: list[list[dict[str, str]]] = answer["results"]
            return results
        if answer["status"] in {"Failed", "Cancelled", "Timeout"}:
            raise WorkFailed(f"the query of the log ended as {answer['status']}")
        time.sleep(POLL_SECONDS)
    raise WorkFailed(f"the query of the log had no answer after {TIMEOUT_SECONDS:.0f} s")


def _row(entry: list[dict[str, str]]) -> Row:
    return {each["field"].lstrip("@"): each["value"] for each in entry if each["field"] != "@ptr"}
