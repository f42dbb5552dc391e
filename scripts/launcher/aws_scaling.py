"""The scaling of an endpoint's variants on AWS: set as a deployment has it, and ended.

Called by `aws_endpoint`.
"""

from collections.abc import Collection, Iterator
from typing import Any

from launcher import aws, scaling_requests
from launcher.account import Account
from launcher.deployment import Operations
from launcher.requests import Request


class AwsScaling:
    """What Application Auto Scaling knows of one endpoint."""

    def __init__(self, endpoint: str, account: Account) -> None:
        self._endpoint = endpoint
        self._autoscaling = account.client("application-autoscaling")
        self._cloudwatch = account.client("cloudwatch")

    def variants(self) -> set[str]:
        """Return the names of the variants that are scaled."""
        prefix = f"endpoint/{self._endpoint}/variant/"
        pages = self._autoscaling.get_paginator("describe_scalable_targets")
        with aws.explained():
            found = [
                each["ResourceId"]
                for page in pages.paginate(ServiceNamespace=scaling_requests.NAMESPACE)
                for each in page["ScalableTargets"]
            ]
        return {each.removeprefix(prefix) for each in found if each.startswith(prefix)}

    def end(self, variants: Collection[str]) -> None:
        """Scale these no more: their policies and scheduled actions go with them."""
        for variant in variants:
            target = scaling_requests.target(self._endpoint, variant)
            with aws.explained():
                aws.unless_missing(self._autoscaling.deregister_scalable_target, **target)
        self._remove_alarm()

    def _remove_alarm(self) -> None:
        name = scaling_requests.alarm_name(self._endpoint)
        with aws.explained():
            if self._cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]:
                self._cloudwatch.delete_alarms(AlarmNames=[name])

    def set(self, operations: Operations) -> None:
        """Scale as these requests have it, and in no other way."""
        known = self.variants()
        for variant in _variants(operations) & known:
            self._remove_others(variant, operations)
        policy = ""
        for operation, request in operations:
            policy = self._send(operation, request, known, policy).get("PolicyARN", policy)
        if not any(operation == "PutMetricAlarm" for operation, _ in operations):
            self._remove_alarm()

    def _send(self, operation: str, request: Request, known: Collection[str], policy: str) -> dict[str, Any]:
        """Send one request; an alarm gets the policy that was put last."""
        with aws.explained():
            if operation == "PutMetricAlarm":
                return dict(self._cloudwatch.put_metric_alarm(**request | {"AlarmActions": [policy]}))
            if operation == "PutScalingPolicy":
                return dict(self._autoscaling.put_scaling_policy(**request))
            if operation == "PutScheduledAction":
                return dict(self._autoscaling.put_scheduled_action(**request))
            if _variant(request) in known:  # only a new target takes tags
                request = {key: each for key, each in request.items() if key != "Tags"}
            return dict(self._autoscaling.register_scalable_target(**request))

    def _remove_others(self, variant: str, operations: Operations) -> None:
        """Remove what an earlier deployment has set of a variant, and this one does not."""
        target = scaling_requests.target(self._endpoint, variant)
        with aws.explained():
            for name in set(
                self._names("describe_scaling_policies", "ScalingPolicies", "PolicyName", target)
            ):
                if name not in _names(operations, variant, "PolicyName"):
                    self._autoscaling.delete_scaling_policy(PolicyName=name, **target)
            key = "ScheduledActionName"
            for name in set(self._names("describe_scheduled_actions", "ScheduledActions", key, target)):
                if name not in _names(operations, variant, key):
                    self._autoscaling.delete_scheduled_action(ScheduledActionName=name, **target)

    def _names(self, operation: str, of: str, key: str, target: Request) -> Iterator[str]:
        for page in self._autoscaling.get_paginator(operation).paginate(**target):
            yield from (each[key] for each in page[of])


def _variant(request: Request) -> str:
    return str(request["ResourceId"]).rpartition("/")[2]


def _variants(operations: Operations) -> set[str]:
    return {_variant(request) for operation, request in operations if operation == "RegisterScalableTarget"}


def _names(operations: Operations, variant: str, key: str) -> set[str]:
    return {request[key] for _, request in operations if key in request and _variant(request) == variant}
