"""The requests that let an endpoint's instances follow its load, built by pure functions.

Called by `deployment`; `aws_scaling` sends them. A target is one variant of an endpoint.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from launcher.endpoint_requests import ONLY_VARIANT
from launcher.errors import SettingsError
from launcher.requests import Request

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
BACKLOG_ALARM = "has-backlog"


def target(endpoint: str, variant: str) -> Request:
    """Return what names a variant in every request of Application Auto Scaling."""
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
        "ScalableDimension": DIMENSION,
    }


def register(endpoint: str, variant: str, low: int, high: int, tags: Mapping[str, str]) -> Request:
    """Build a RegisterScalableTarget request: no fewer instances than `low`, no more than `high`."""
    return target(endpoint, variant) | {"MinCapacity": low, "MaxCapacity": high, "Tags": dict(tags)}


def on_invocations(endpoint: str, variant: str, a_minute: int, cooldown: Request) -> Request:
    """Build a PutScalingPolicy request: so many requests a minute for each instance."""
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    tracking = {"TargetValue": float(a_minute), "PredefinedMetricSpecification": metric} | cooldown
    return _tracking(endpoint, variant, "invocations", tracking)


def on_cpu(endpoint: str, variant: str, percent: int, instance_type: str, cooldown: Request) -> Request:
    """Build a PutScalingPolicy request: so much of each instance's processors.

    The metric counts each processor up to 100 %. Raises SettingsError for a type of unknown size.
    """
    dimensions = {"EndpointName": endpoint, "VariantName": variant}
    metric = {
        "MetricName": "CPUUtilization",
        "Namespace": "/aws/sagemaker/Endpoints",
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Statistic": "Average",
        "Unit": "Percent",
    }
    value = float(percent * processors(instance_type))
    tracking = {"TargetValue": value, "CustomizedMetricSpecification": metric} | cooldown
    return _tracking(endpoint, variant, "cpu", tracking)


def on_backlog(endpoint: str, requests: int, cooldown: Request) -> Request:
    """Build a PutScalingPolicy request: so many waiting requests for each instance of an asynchronous one."""
    metric = {
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Namespace": "AWS/SageMaker",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
        "Statistic": "Average",
    }
    tracking = {"TargetValue": float(requests), "CustomizedMetricSpecification": metric} | cooldown
    return _tracking(endpoint, ONLY_VARIANT, "backlog", tracking)


def _tracking(endpoint: str, variant: str, name: str, tracking: Request) -> Request:
    return target(endpoint, variant) | {
        "PolicyName": name,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
    }


def from_zero(endpoint: str, cooldown_seconds: int) -> Request:
    """Build a PutScalingPolicy request: one instance more, which the alarm below asks for.

    Without an instance there is no backlog per instance that the other policy could look at.
    """
    step = {
        "AdjustmentType": "ChangeInCapacity",
        "MetricAggregationType": "Average",
        "Cooldown": cooldown_seconds,
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
    }
    return target(endpoint, ONLY_VARIANT) | {
        "PolicyName": BACKLOG_ALARM,
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": step,
    }


def alarm_name(endpoint: str) -> str:
    """Return the name of the alarm that wakes an endpoint that has no instance."""
    return f"{endpoint}-{BACKLOG_ALARM}"


def backlog_alarm(endpoint: str, policy_arn: str, tags: list[Request]) -> Request:
    """Build a PutMetricAlarm request: requests wait, and there is no instance."""
    return {
        "AlarmName": alarm_name(endpoint),
        "AlarmDescription": f"Requests to {endpoint} wait while it has no instance",
        "Namespace": "AWS/SageMaker",
        "MetricName": "HasBacklogWithoutCapacity",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [policy_arn],
        "Tags": tags,
    }


@dataclass(frozen=True)
class Schedule:
    """Other limits from a time on, such as `cron(0 7 ? * MON-FRI *)`."""

    name: str
    low: int
    high: int
    when: str


def scheduled(endpoint: str, variant: str, schedule: Schedule, timezone: str) -> Request:
    """Build a PutScheduledAction request."""
    return target(endpoint, variant) | {
        "ScheduledActionName": schedule.name,
        "Schedule": schedule.when,
        "Timezone": timezone,
        "ScalableTargetAction": {"MinCapacity": schedule.low, "MaxCapacity": schedule.high},
    }


def processors(instance_type: str) -> int:
    """Return how many processors an instance has; SettingsError where its name does not tell."""
    size = instance_type.rpartition(".")[2]
    if size == "large":
        return 2
    if xlarge := re.fullmatch(r"(\d*)xlarge", size):
        return 4 * int(xlarge[1] or 1)
    raise SettingsError(f"{instance_type}: how many processors it has is not known; use --scale-invocations")
