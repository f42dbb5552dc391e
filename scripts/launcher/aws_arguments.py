"""What a training job and a search have in common on SageMaker: their options, and what the settings say.

Called by launch_training.py and by `search_arguments` for launch_hpo.py. An option wins over the settings.
"""

import argparse
from typing import Any

from launcher import arguments, configuration, jobs
from launcher.account import Account
from launcher.errors import SettingsError
from launcher.settings import Training

AWS = "aws"  # the backend that is no process of this machine
_OPTIONS = ("role", "s3_output", "instance_type", "spot", "max_wait", "warm_pool")


def add(to: argparse.ArgumentParser) -> None:
    """Add the options of --backend aws; credentials come from the environment, as boto3 takes them."""
    group = to.add_argument_group(
        "on AWS (--backend aws; --data, --pretrained, --checkpoints in S3; the settings have the defaults)"
    )
    arguments.add_settings(group)
    group.add_argument("--role", metavar="ARN", help="what the job may do")
    group.add_argument("--s3-output", metavar="s3://BUCKET/PREFIX", help="for results")
    group.add_argument("--instance-type", metavar="TYPE")
    group.add_argument(
        "--spot", action=argparse.BooleanOptionalAction, help="spare machines, at about a third of the price"
    )
    group.add_argument(
        "--max-wait",
        type=arguments.positive,
        metavar="SECONDS",
        help="for spare machines, the running included",
    )
    group.add_argument(
        "--warm-pool",
        type=int,
        metavar="SECONDS",
        help="keep the machines so long for the next job, at their full price",
    )


def refuse_elsewhere(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Raise SettingsError for options that this machine would ignore."""
    if given.backend != AWS and (names := [name for name in _OPTIONS if getattr(given, name) is not None]):
        raise SettingsError(f"{arguments.flags(parser, names)}: only --backend {AWS} takes this")


def training_parts(given: argparse.Namespace, account: Account) -> dict[str, Any]:
    """Return what `requests.training_job` is to build a job of this account from.

    Raises SettingsError for options that are not possible together.
    """
    settings, training = account.settings, _training(given, account.settings.training)
    network = settings.network
    vpc = {"SecurityGroupIds": list(network.security_groups), "Subnets": list(network.subnets)}
    return {
        "name": given.job_name or jobs.new_name(settings.project),
        "image": given.train_image or account.image("train"),
        "role": given.role or account.role,
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
        "vpc": vpc if network.subnets else None,
        "encrypt_between_hosts": network.encrypt_between_hosts,
        "tags": account.tags,
    }


def _training(given: argparse.Namespace, settings: Training) -> Training:
    """Lay the options over the settings; --max-runtime alone leaves the time to wait for machines as is."""
    wait = given.max_wait
    if given.max_runtime and not wait:
        wait = given.max_runtime + max(0, settings.max_wait_seconds - settings.max_runtime_seconds)
    return configuration.changed(
        settings,
        "a job on AWS",
        instance_type=given.instance_type,
        instances=given.instances,
        volume_gb=given.volume_gb,
        input_mode=given.input_mode,
        spot=given.spot,
        max_runtime_seconds=given.max_runtime,
        max_wait_seconds=wait,
        warm_pool_seconds=given.warm_pool,
    )
