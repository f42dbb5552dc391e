"""The CloudWatch dashboard of an endpoint, as PutDashboard takes it. Called by monitor.py."""

import json
from typing import Any
from urllib.parse import quote

from launcher.account import Account
from launcher.requests import Request
from trainer.metrics import METRICS

INVOKED = "AWS/SageMaker"  # a line for each variant
MACHINES = "/aws/sagemaker/Endpoints"
TRAINED = "/aws/sagemaker/TrainingJobs"
_WIDTH, _HEIGHT = 12, 6  # of a widget; a dashboard is 24 wide
_MINUTE = 60


def name_of(account: Account, endpoint: str) -> str:
    """Return a name by which teardown.py knows whose it is: dashboards have no tags."""
    return account.named(endpoint)


def dashboard(account: Account, endpoint: str, job: str | None = None) -> Request:
    """Build a PutDashboard request: an endpoint's answers and machines, and a training job's metrics."""
    shown = [
        ("requests a minute", _by_variant(INVOKED, endpoint, "Invocations", "Sum"), None),
        ("latency in the container, microseconds", _percentiles(endpoint, "ModelLatency"), None),
        ("overhead of the platform, microseconds", _percentiles(endpoint, "OverheadLatency"), None),
        (
            "errors a minute: the server's (5xx) and the clients' (4xx)",
            [
                *_by_variant(INVOKED, endpoint, "Invocation5XXErrors", "Sum"),
                *_by_variant(INVOKED, endpoint, "Invocation4XXErrors", "Sum"),
            ],
            None,
        ),
        ("processors, percent of one", _by_variant(MACHINES, endpoint, "CPUUtilization", "Average"), None),
        ("memory, percent", _by_variant(MACHINES, endpoint, "MemoryUtilization", "Maximum"), 100),
    ]
    widgets = [_widget(account.region, *each) for each in shown]
    if job:
        widgets.append(_widget(account.region, f"training: {job}", _of_job(job), None))
    placed = [
        each | {"x": _WIDTH * (place % 2), "y": _HEIGHT * (place // 2), "width": _WIDTH, "height": _HEIGHT}
        for place, each in enumerate(widgets)
    ]
    body = {"widgets": placed, "periodOverride": "inherit"}
    return {"DashboardName": name_of(account, endpoint), "DashboardBody": json.dumps(body)}


def link(account: Account, endpoint: str) -> str:
    """Return where a browser shows it."""
    domain = "amazonaws.cn" if account.region.startswith("cn-") else "aws.amazon.com"
    page = f"https://{account.region}.console.{domain}/cloudwatch/home?region={account.region}"
    return f"{page}#dashboards/dashboard/{quote(name_of(account, endpoint))}"


def _widget(region: str, title: str, metrics: list[Any], most: int | None) -> dict[str, Any]:
    axis = {"min": 0} | ({} if most is None else {"max": most})
    properties = {
        "title": title, "region": region, "view": "timeSeries", "period": _MINUTE, "metrics": metrics,
        "yAxis": {"left": axis},
    }  # fmt: skip
    return {"type": "metric", "properties": properties}


def _by_variant(namespace: str, endpoint: str, metric: str, statistic: str) -> list[Any]:
    """Find a metric of all variants, also of those that come later."""
    dimensions = f"{{{namespace},EndpointName,VariantName}}"
    wanted = f'{dimensions} EndpointName="{endpoint}" MetricName="{metric}"'
    label = f"{metric} {statistic}"
    return [[{"expression": f"SEARCH('{wanted}', '{statistic}', {_MINUTE})", "label": label}]]


def _percentiles(endpoint: str, metric: str) -> list[Any]:
    return [line for each in ("p50", "p90", "p99") for line in _by_variant(INVOKED, endpoint, metric, each)]


def _of_job(job: str) -> list[Any]:
    return [[TRAINED, metric.name, "TrainingJobName", job] for metric in METRICS]
