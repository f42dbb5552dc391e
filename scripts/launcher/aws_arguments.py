"""What a training job and a search have in common on SageMaker: their options, and what the settings say.

Called by launch_training.py and by `search_arguments` for launch_hpo.py. An option wins over the settings.
"""

import argparse
from typing import Any

from launcher import arguments, bounds, configuration, jobs
from launcher.account import Account
from launcher.settings import Settings, Training

AWS = "aws"  # the backend that is no process of this machine
_OPTIONS = {
    "settings",
    "role",
    "s3_output",
    "instance_type",
    "spot",
    "max_wait",
    "warm_pool",
    "subnets",
    "security_groups",
    "network_isolation",
    "encrypt_between_hosts",
    "kms_key",
}


def add(to: argparse.ArgumentParser) -> None:
    """Add the options of --backend aws; credentials come from the environment, as boto3 takes them."""
    group = to.add_argument_group(
        "on AWS (--backend aws; --data, --pretrained, --checkpoints in S3; the settings have the defaults)"
    )
    arguments.add_settings(group)
    group.add_argument("--role", metavar="ARN", help="what the job may do")
    group.add_argument("--s3-output", type=arguments.place, metavar="s3://BUCKET/PREFIX", help="for results")
    group.add_argument("--instance-type", type=arguments.instance_type, metavar="TYPE")
    group.add_argument(
        "--spot", action=argparse.BooleanOptionalAction, help="spare machines, at about a third of the price"
    )
    group.add_argument(
        "--max-wait",
        type=bounds.positive,
        metavar="SECONDS",
        help="for spare machines, the running included",
    )
    group.add_argument(
        "--warm-pool",
        type=bounds.whole(0, 3_600),
        metavar="SECONDS",
        help="keep the machines so long for the next job, at their full price",
    )
    _add_protection(group)


def _add_protection(to: argparse._ActionsContainer) -> None:
    """Add what the job can reach, and what its data are encrypted with."""
    to.add_argument(
        "--subnets", nargs="*", metavar="ID", help="of a VPC; none given is SageMaker's own network"
    )
    to.add_argument("--security-groups", nargs="*", metavar="ID", help="needed with subnets")
    to.add_argument(
        "--network-isolation",
        action=argparse.BooleanOptionalAction,
        help="the container has no network at all, and needs none",
    )
    to.add_argument(
        "--encrypt-between-hosts",
        action=argparse.BooleanOptionalAction,
        help="what the hosts of one job tell each other, which is slower",
    )
    to.add_argument("--kms-key", metavar="KEY", help="ID, ARN or alias: encrypts disks and results")


def refuse_elsewhere(parser: argparse.ArgumentParser, values: argparse.Namespace, given: set[str]) -> None:
    """Raise SettingsError for options that this machine would ignore, by the names of those given."""
    if values.backend != AWS:
        arguments.refuse(parser, given & _OPTIONS, f"only --backend {AWS} takes this")


def account_of(given: argparse.Namespace) -> Account:
    """Return the account of the settings, with the options over them.

    Raises SettingsError for options that are not possible together.
    """
    account = arguments.account_of(given)
    return account.with_settings(_settings(given, account.settings))


def training_parts(given: argparse.Namespace, account: Account) -> dict[str, Any]:
    """Return what `requests.training_job` is to build a job of this account from."""
    settings, training, network = account.settings, account.settings.training, account.settings.network
    return {
        "name": given.job_name or jobs.new_name(settings.project),
        "image": given.train_image or account.image("train"),
        "role": account.role,
        "output_uri": given.s3_output or account.uri("training"),
        "instance_type": training.instance_type,
        "instance_count": training.instances,
        "volume_gb": training.volume_gb,
        "input_mode": training.input_mode,
        "max_runtime_seconds": training.max_runtime_seconds,
        "spot_wait_seconds": training.max_wait_seconds if training.spot else None,
        "warm_pool_seconds": training.warm_pool_seconds,
        "kms_key": settings.storage.kms_key,
        "network_isolation": network.isolation,
        "vpc": account.vpc,
        "encrypt_between_hosts": network.encrypt_between_hosts,
        "tags": account.tags,
    }


def _settings(given: argparse.Namespace, settings: Settings) -> Settings:
    """Lay the options over the settings."""
    what = "a job on AWS"
    network = {name: getattr(given, name) for name in ("subnets", "security_groups", "encrypt_between_hosts")}
    sections = {
        "access": configuration.changed(settings.access, what, role=given.role),
        "network": configuration.changed(
            settings.network, what, isolation=given.network_isolation, **network
        ),
        "storage": configuration.changed(settings.storage, what, kms_key=given.kms_key),
        "training": _training(given, settings.training, what),
    }
    return settings.model_copy(update=sections)


def _training(given: argparse.Namespace, settings: Training, what: str) -> Training:
    """Lay the options over their section; --max-runtime alone leaves the time to wait for machines as is."""
    wait = given.max_wait
    if given.max_runtime and not wait:
        wait = given.max_runtime + max(0, settings.max_wait_seconds - settings.max_runtime_seconds)
    return configuration.changed(
        settings,
        what,
        instance_type=given.instance_type,
        instances=given.instances,
        volume_gb=given.volume_gb,
        input_mode=given.input_mode,
        spot=given.spot,
        max_runtime_seconds=given.max_runtime,
        max_wait_seconds=wait,
        warm_pool_seconds=given.warm_pool,
    )
