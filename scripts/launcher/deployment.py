"""What a deployment on SageMaker consists of: all its requests, in the order in which they are sent.

Called by deploy.py; `aws_endpoint` carries it out. All follows from the command line and the account.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher import endpoint_requests, jobs, scaling_requests, serving_arguments
from launcher.account import Account
from launcher.endpoint_requests import ONLY_VARIANT
from launcher.errors import SettingsError
from launcher.requests import Request, disk_key, validate
from launcher.serving_arguments import Named

Operations = list[tuple[str, Request]]
ENDPOINT_TAG = "endpoint"  # by which an endpoint's models and configurations are found again
THE_POLICY = "ARN-OF-THE-POLICY-has-backlog"  # which AWS makes up when the policy is put


@dataclass(frozen=True)
class Deployment:
    """The requests that make an endpoint, or update the one that is there."""

    models: Sequence[Request]
    config: Request
    create: Request
    update: Request
    scaling: Operations

    @property
    def operations(self) -> Operations:
        """All of them; of CreateEndpoint and UpdateEndpoint one is sent."""
        return [
            *(("CreateModel", model) for model in self.models),
            ("CreateEndpointConfig", self.config),
            ("CreateEndpoint", self.create),
            ("UpdateEndpoint", self.update),
            *self.scaling,
        ]

    @property
    def scaled(self) -> dict[str, str]:
        """The instance type of each variant that is scaled."""
        if not self.scaling:
            return {}
        return {each["VariantName"]: each["InstanceType"] for each in self.config["ProductionVariants"]}


def name_of(given: argparse.Namespace, account: Account) -> str:
    """Return the endpoint's name."""
    return str(given.name or account.settings.project)


def plan(given: argparse.Namespace, account: Account, archives: Mapping[str, str]) -> Deployment:
    """Return the deployment of a command line; `archives` has where each model lies in S3.

    Raises SettingsError.
    """
    name = name_of(given, account)
    version = f"{name}-{given.version}" if given.version else jobs.new_name(name)
    tags = tags_of(account, name)
    named = serving_arguments.variants(given)
    shadows = [given.shadow] if given.shadow else []
    variants = [_variant(each, _model_name(version, each), given, account) for each in named]
    config = endpoint_requests.endpoint_config(
        name=version,
        variants=variants,
        shadows=[_variant(each, _model_name(version, each), given, account) for each in shadows],
        capture=_capture(given, account, name),
        queue=_queue(account, name) if given.asynchronous else None,
        kms_key="" if given.serverless else _disk_key([*named, *shadows], given, account),
        tags=tags,
    )
    scaling = scaling_of(given, account, name, config)
    shift = None if given.serverless else _shift(given, account)
    return Deployment(
        models=[
            validate("CreateModel", _model(_model_name(version, each), archives[each.model], given, account))
            for each in [*named, *shadows]
        ],
        config=validate("CreateEndpointConfig", config),
        create=validate(
            "CreateEndpoint", endpoint_requests.endpoint(name=name, config_name=version, tags=tags)
        ),
        update=validate(
            "UpdateEndpoint",
            endpoint_requests.update(name=name, config_name=version, deployment=shift, scaled=bool(scaling)),
        ),
        scaling=scaling,
    )


def tags_of(account: Account, endpoint: str) -> list[Request]:
    """Return the tags of all that is made for an endpoint."""
    return [*account.tags, {"Key": ENDPOINT_TAG, "Value": endpoint}]


def _model_name(version: str, variant: Named) -> str:
    return version if variant.name == ONLY_VARIANT else f"{version}-{variant.name}"


def _model(name: str, archive: str, given: argparse.Namespace, account: Account) -> Request:
    """A serverless endpoint has neither a VPC nor an isolated network."""
    return endpoint_requests.model(
        name=name,
        image=given.serve_image or account.image("serve"),
        model_data=archive,
        role=account.role,
        several=bool(given.multi_model),
        isolation=account.settings.network.isolation and not given.serverless,
        vpc=None if given.serverless else account.vpc,
        tags=tags_of(account, name_of(given, account)),
    )


def _variant(each: Named, model: str, given: argparse.Namespace, account: Account) -> Request:
    settings = account.settings.endpoint
    if given.serverless:
        return endpoint_requests.serverless_variant(
            model_name=model,
            memory_mb=settings.serverless_memory_mb,
            concurrency=settings.serverless_concurrency,
        )
    return endpoint_requests.variant(
        name=each.name,
        model_name=model,
        weight=each.weight,
        instance_type=_instance_type(each, given, account),
        instances=given.instances or settings.instances,
        startup_seconds=settings.startup_seconds,
    )


def _instance_type(each: Named, given: argparse.Namespace, account: Account) -> str:
    return str(each.instance_type or given.instance_type or account.settings.endpoint.instance_type)


def _disk_key(variants: Sequence[Named], given: argparse.Namespace, account: Account) -> str:
    """Return the key of all variants' disks: one whose hardware encrypts its own keeps it from the others."""
    key = account.settings.storage.kms_key
    return key if all(disk_key(_instance_type(each, given, account), key) for each in variants) else ""


def _capture(given: argparse.Namespace, account: Account, name: str) -> Request | None:
    if not given.capture:
        return None
    return endpoint_requests.capture(
        percent=given.capture, uri=account.uri("captured", name), kms_key=account.settings.storage.kms_key
    )


def _queue(account: Account, name: str) -> Request:
    settings = account.settings.endpoint
    return endpoint_requests.queue(
        output=account.uri("answers", name),
        failures=account.uri("failures", name),
        concurrency=settings.async_concurrency,
        success_topic=settings.success_topic,
        error_topic=settings.error_topic,
        kms_key=account.settings.storage.kms_key,
    )


def _shift(given: argparse.Namespace, account: Account) -> Request | None:
    """Return how an update changes over; None leaves it to the platform: all at once, without a way back."""
    if not (given.canary or given.linear or given.rollback_on):
        return None
    settings = account.settings.endpoint
    return endpoint_requests.traffic_shift(
        canary=given.canary,
        linear=given.linear,
        wait_seconds=settings.shift_wait_seconds,
        bake_seconds=settings.bake_seconds,
        startup_seconds=settings.startup_seconds,
        alarms=given.rollback_on or [],
    )


def scaling_of(given: argparse.Namespace, account: Account, name: str, config: Request) -> Operations:
    """Return the requests that scale each variant of a configuration; none where nothing of it is asked for.

    Raises SettingsError for what cannot be scaled so.
    """
    wanted = serving_arguments.scaling(given)
    if not wanted:
        return []
    if "scale_backlog" in wanted and "AsyncInferenceConfig" not in config:
        raise SettingsError(f"--scale-backlog is for --async: nothing waits at {name}")
    settings = account.settings.endpoint
    rest = {"ScaleInCooldown": settings.scale_in_seconds, "ScaleOutCooldown": settings.scale_out_seconds}
    low = 0 if "scale_backlog" in wanted else settings.min_instances
    tags = {tag["Key"]: tag["Value"] for tag in tags_of(account, name)}
    found: Operations = []
    for variant in config["ProductionVariants"]:
        each, kind = variant["VariantName"], variant.get("InstanceType", "serverless")
        if not kind.startswith("ml.") or kind.startswith("ml.t"):
            raise SettingsError(f"{each} is {kind}, which cannot be scaled: another --instance-type")
        target = scaling_requests.register(name, each, low, settings.max_instances, tags)
        found.append(("RegisterScalableTarget", target))
        if a_minute := wanted.get("scale_invocations"):
            policy = scaling_requests.on_invocations(name, each, a_minute, rest)
            found.append(("PutScalingPolicy", policy))
        if percent := wanted.get("scale_cpu"):
            policy = scaling_requests.on_cpu(name, each, percent, kind, rest)
            found.append(("PutScalingPolicy", policy))
        for entry in wanted.get("schedule", []):
            action = scaling_requests.scheduled(name, each, entry, settings.timezone)
            found.append(("PutScheduledAction", action))
    if waiting := wanted.get("scale_backlog"):
        found += _down_to_zero(account, name, waiting, rest)
    return found


def _down_to_zero(account: Account, name: str, waiting: int, rest: Request) -> Operations:
    """One policy for an endpoint that has instances, and one with its alarm for one that has none."""
    first = scaling_requests.from_zero(name, rest["ScaleOutCooldown"])
    return [
        ("PutScalingPolicy", scaling_requests.on_backlog(name, waiting, rest)),
        ("PutScalingPolicy", first),
        ("PutMetricAlarm", scaling_requests.backlog_alarm(name, THE_POLICY, tags_of(account, name))),
    ]
