"""The alarms of an endpoint and the topic that they tell, as CloudWatch and SNS take them.

Called by monitor.py. `deploy.py --rollback-on` takes their names.
"""

import argparse
import re
from collections.abc import Collection, Sequence

from launcher import aws
from launcher.account import Account
from launcher.dashboard import INVOKED, MACHINES
from launcher.requests import Request

TROUBLES = ("errors", "slow", "memory")
_MINUTE = 60


def topic(account: Account) -> Request:
    """Build a CreateTopic request; what is there already is returned by it."""
    return {"Name": account.named("alarms"), "Tags": account.tags}


def address(text: str) -> str:
    """Read whom alarms tell (an argparse type): SNS refuses what is no address only when all else is made."""
    if not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as you@example.com")
    return text


def subscription(topic_arn: str, email: str) -> Request:
    """Build a Subscribe request; the person has to confirm it by a link in a mail."""
    return {"TopicArn": topic_arn, "Protocol": "email", "Endpoint": email}


def alarms(
    account: Account, endpoint: str, variants: Sequence[str], *, topic_arn: str, slow_ms: int
) -> list[Request]:
    """Build a PutMetricAlarm request for each variant and each of three troubles.

    Errors of the server, answers that take longer than `slow_ms` in the container, memory that runs out.
    """
    return [
        _alarm(account, endpoint, variant, topic_arn) | trouble
        for variant in variants
        for trouble in (
            _errors(account, endpoint, variant),
            _slow(account, endpoint, variant, slow_ms),
            _memory(account, endpoint, variant),
        )
    ]


def stale(account: Account, endpoint: str, variants: Collection[str]) -> list[str]:
    """Return the names of the alarms that `alarms` made for variants that the endpoint no longer has."""
    pages = account.client("cloudwatch").get_paginator("describe_alarms")
    with aws.explained():
        found = [
            (each["AlarmName"], {dimension["Name"]: dimension["Value"] for dimension in each["Dimensions"]})
            for page in pages.paginate(AlarmNamePrefix=account.named(f"{endpoint}-"))
            for each in page["MetricAlarms"]
        ]
    # Another endpoint's name may begin alike, and people make alarms as well.
    return sorted(
        name
        for name, about in found
        if about.get("EndpointName") == endpoint
        and (variant := about.get("VariantName", "")) not in variants
        and name in {name_of(account, endpoint, variant, trouble) for trouble in TROUBLES}
    )


def name_of(account: Account, endpoint: str, variant: str, trouble: str) -> str:
    """Return an alarm's name."""
    return account.named(f"{endpoint}-{variant}-{trouble}")


def _alarm(account: Account, endpoint: str, variant: str, topic_arn: str) -> Request:
    """Return what all have: three minutes of five, and silence is no trouble."""
    return {
        "AlarmActions": [topic_arn],
        "OKActions": [topic_arn],
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": variant},
        ],
        "Period": _MINUTE,
        "EvaluationPeriods": 5,
        "DatapointsToAlarm": 3,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "Tags": account.tags,
    }


def _errors(account: Account, endpoint: str, variant: str) -> Request:
    return {
        "AlarmName": name_of(account, endpoint, variant, "errors"),
        "AlarmDescription": f"{endpoint} fails at requests: monitor.py --logs errors shows which",
        "Namespace": INVOKED,
        "MetricName": "Invocation5XXErrors",
        "Statistic": "Sum",
        "Threshold": 0.0,
        "DatapointsToAlarm": 2,
    }


def _slow(account: Account, endpoint: str, variant: str, slow_ms: int) -> Request:
    return {
        "AlarmName": name_of(account, endpoint, variant, "slow"),
        "AlarmDescription": f"one in a hundred answers of {endpoint} takes longer than {slow_ms} ms",
        "Namespace": INVOKED,
        "MetricName": "ModelLatency",  # in microseconds
        "ExtendedStatistic": "p99",
        "Threshold": slow_ms * 1000.0,
    }


def _memory(account: Account, endpoint: str, variant: str) -> Request:
    return {
        "AlarmName": name_of(account, endpoint, variant, "memory"),
        "AlarmDescription": f"the instances of {endpoint} run out of memory",
        "Namespace": MACHINES,
        "MetricName": "MemoryUtilization",
        "Statistic": "Maximum",
        "Threshold": 85.0,
    }
