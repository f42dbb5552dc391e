"""The requests of the SageMaker API, built by pure functions exactly as boto3 takes them.

Called by the scripts. The same dictionary is printed by `--dry-run`, carried out on this machine by the
docker and process backends, and can be sent to AWS. Data and models on this machine are given as
`file://` URIs, which only the local backends accept.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import botocore.session
from botocore.model import Shape, StructureShape
from botocore.validate import ParamValidator

from launcher.errors import SettingsError

Request = dict[str, Any]
Scalar = str | int | float | bool | None
Json = Scalar | Sequence["Json"] | Mapping[str, "Json"]

# The image names that `make build` gives.
TRAINING_IMAGE = "dog-breeds-train:latest"
SERVING_IMAGE = "dog-breeds-serve:latest"
CHECKPOINTS = "/opt/ml/checkpoints"  # where a job sees its CheckpointConfig's folder; the platform's default
INPUT_MODES = ("File", "FastFile")  # copied to the instance's disk before the job, or streamed as it reads
VOLUME_GB = 50
TRAINING_INSTANCE = "ml.g4dn.xlarge"
# The API requires a role; the local backends have no use for one.
LOCAL_ROLE = "arn:aws:iam::000000000000:role/local"


def training_job(
    *,
    name: str,
    image: str,
    channels: Mapping[str, str],
    hyperparameters: Mapping[str, Json],
    metric_definitions: Sequence[Mapping[str, str]],
    output_uri: str,
    role: str = LOCAL_ROLE,
    instance_type: str = TRAINING_INSTANCE,
    instance_count: int = 1,
    volume_gb: int = VOLUME_GB,
    input_mode: str = INPUT_MODES[0],
    checkpoints: str | None = None,
    max_runtime_seconds: int = 86_400,
    spot_wait_seconds: int | None = None,
    warm_pool_seconds: int = 0,
    kms_key: str = "",
    network_isolation: bool = True,
    vpc: Request | None = None,
    encrypt_between_hosts: bool = False,
    environment: Mapping[str, str] | None = None,
    debug_hook: Request | None = None,
    debug_rules: Sequence[Request] = (),
    profiler: Request | None = None,
    tags: Sequence[Mapping[str, str]] = (),
) -> Request:
    """Build a CreateTrainingJob request.

    `channels` maps a channel's name to its URI; `checkpoints` is the URI of a folder that outlives the job,
    from which another job continues; with `spot_wait_seconds` it runs on spare machines, and waits and runs
    no longer than that; `vpc` is a VpcConfig; the debugger's three are what `debugging` builds. A
    hyperparameter that is not given is not sent, so that the only defaults are the trainer's own.
    """
    request: Request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": input_mode,
            "MetricDefinitions": [dict(definition) for definition in metric_definitions],
        },
        "HyperParameters": encode_hyperparameters(hyperparameters),
        "InputDataConfig": [_channel(channel, uri) for channel, uri in channels.items()],
        "OutputDataConfig": {"S3OutputPath": output_uri} | given(KmsKeyId=kms_key),
        "ResourceConfig": _machines(instance_type, instance_count, volume_gb, warm_pool_seconds, kms_key),
        "RoleArn": role,
        "StoppingCondition": {"MaxRuntimeInSeconds": max_runtime_seconds}
        | given(MaxWaitTimeInSeconds=spot_wait_seconds),
        "EnableNetworkIsolation": network_isolation,
        "Environment": dict(environment or {}),
    }
    return request | given(
        CheckpointConfig=checkpoints and {"S3Uri": checkpoints, "LocalPath": CHECKPOINTS},
        EnableManagedSpotTraining=spot_wait_seconds is not None,
        VpcConfig=vpc,
        EnableInterContainerTrafficEncryption=encrypt_between_hosts,
        DebugHookConfig=debug_hook,
        DebugRuleConfigurations=list(debug_rules),
        ProfilerConfig=profiler,
        Tags=[dict(tag) for tag in tags],
    )


def _machines(instance_type: str, count: int, volume_gb: int, warm_pool_seconds: int, key: str) -> Request:
    machines = {"InstanceType": instance_type, "InstanceCount": count, "VolumeSizeInGB": volume_gb}
    return machines | given(
        KeepAlivePeriodInSeconds=warm_pool_seconds,
        VolumeKmsKeyId=_no_alias(disk_key(instance_type, key)),
    )


def disk_key(instance_type: str, key: str) -> str:
    """Return the key for an instance's disk; "" for one that its hardware encrypts: a key is refused then.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html (VolumeKmsKeyId)
    """
    family = instance_type.split(".")[1]
    return "" if "d" in family or family.startswith(("g5", "g6", "p5", "trn")) else key


def _no_alias(key: str) -> str:
    """Return the key of a training's disks, which is no alias, as the same page has it."""
    if "alias/" in key:
        raise SettingsError(
            f"a training's disks take no alias, as {key} is: its key's ID or ARN in storage.kms-key or "
            "--kms-key, or an instance type that has a disk of its own, such as ml.g4dn.xlarge"
        )
    return key


def _channel(name: str, uri: str) -> Request:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def given(**parts: Request | Sequence[Request] | str | int | None) -> Request:
    """Return the parts of a request that are not empty, nor 0."""
    return {key: part for key, part in parts.items() if part}


def encode_hyperparameters(values: Mapping[str, Json]) -> dict[str, str]:
    """Write hyperparameters as the API takes them: every value JSON-encoded, as SageMaker's SDK does.

    `sagemaker-training` decodes each value, so a text with spaces, quotes or JSON in it arrives as it was.
    """
    return {name: json.dumps(value) for name, value in values.items()}


def number_or_text(text: str) -> int | float | str:
    """Read a value from a command line: a plain number stays a number in the request, all else is text.

    Only a number whose JSON is the very same text counts, so that what arrives is what was typed.
    """
    if not re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", text):
        return text
    number: int | float = json.loads(text)
    return number if json.dumps(number) == text else text


def validate(operation: str, request: Request) -> Request:
    """Check a request against botocore's own model of the API and return it.

    Needs neither credentials nor a network. Raises SettingsError naming each wrong key.
    """
    shape = operation_shape(operation)
    report = ParamValidator().validate(request, shape)
    faults = [report.generate_report()] if report.has_errors() else []
    faults += [*_name_faults(request, shape)]
    if faults:
        raise SettingsError(
            f"this {operation} request is not one that the SageMaker API takes:\n" + "\n".join(faults)
        )
    return request


@cache
def operation_shape(operation: str) -> StructureShape:
    """Return what an operation of the API takes, by botocore's own model."""
    shape = (
        botocore.session.get_session().get_service_model("sagemaker").operation_model(operation).input_shape
    )
    assert isinstance(shape, StructureShape), operation  # noqa: S101 - every SageMaker operation takes a structure
    return shape


def _name_faults(request: Request, shape: StructureShape) -> list[str]:
    """Check the request's own names, whose pattern and length botocore leaves to the service."""
    faults = []
    for key, member in shape.members.items():
        value = request.get(key)
        if key.endswith("Name") and isinstance(value, str) and not _fits(value, member):
            faults.append(
                f"{key} {value!r}: up to {member.metadata['max']} letters, digits and single hyphens"
            )
    return faults


def _fits(value: str, shape: Shape) -> bool:
    return len(value) <= shape.metadata["max"] and re.fullmatch(shape.metadata["pattern"], value) is not None


def check_in_s3(job: Request, what: str) -> None:
    """Check that all that a training job or a search's definition names is in S3; raises SettingsError."""
    places = {
        f"the channel {channel['ChannelName']}": channel["DataSource"].get("S3DataSource", {}).get("S3Uri")
        for channel in job.get("InputDataConfig", [])
    }
    places["the output"] = job["OutputDataConfig"]["S3OutputPath"]
    places["the checkpoints"] = job.get("CheckpointConfig", {}).get("S3Uri")
    faults = [f"  {name}: {uri}" for name, uri in places.items() if uri and not uri.startswith("s3://")]
    if faults:
        remedy = (
            "scripts/prepare_data.py --data FOLDER --upload brings photographs there and prints their URI"
        )
        raise SettingsError("\n".join([f"{what} on AWS takes s3:// URIs only:", *faults, remedy]))


def local_path(uri: str) -> Path:
    """Return the path behind a `file://` URI; SettingsError for any other kind."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise SettingsError(f"{uri!r} is not on this machine: the local backends take file:// URIs")
    return Path(unquote(parts.path))
