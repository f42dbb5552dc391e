"""config/settings.toml: whose account, which bucket, role, images and machines, read and checked.

Called by `arguments` for every script that works on AWS; `account` fills in what is left empty.
"""

import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, StringConstraints, model_validator

from launcher import configuration
from launcher.configuration import Section

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "config/settings.toml"
# Short enough that <project>-<account>-<region> is a bucket's name, and a time may follow it in a job's.
Project = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](-?[a-z0-9])*$", max_length=24)]
AccountId = Annotated[str, StringConstraints(pattern=r"^(\d{12})?$")]
RoleArn = Annotated[str, StringConstraints(pattern=r"^(arn:aws[a-z-]*:iam::\d{12}:role/.+)?$")]
TopicArn = Annotated[str, StringConstraints(pattern=r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:.+)?$")]
INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"
InstanceType = Annotated[str, StringConstraints(pattern=f"^{INSTANCE_TYPE}$")]
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html, and of its images a tag
Repository = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$", min_length=2, max_length=256
    ),
]
ImageTag = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$")]


def bucket(name: str) -> str:
    """Return a bucket's name as it is; raises ValueError with S3's rule for one that S3 does not take.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    if not re.fullmatch(r"(?!.*\.\.)(?!\d+(\.\d+){3}$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
        raise ValueError(
            f"S3 has no bucket {name!r}: 3 to 63 small letters, digits, hyphens and single dots, with a "
            "letter or digit at both ends, and no IP address"
        )
    return name


Bucket = Annotated[str, AfterValidator(lambda name: name and bucket(name))]


def _own(key: str) -> str:
    """Refuse a tag of AWS's own (a validator)."""
    if key.lower().startswith("aws:"):
        raise ValueError("tags that begin with aws: are AWS's own")
    return key


# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Tag.html
_TAG = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]"
TagKey = Annotated[str, StringConstraints(pattern=f"^{_TAG}+$", max_length=128), AfterValidator(_own)]
TagValue = Annotated[str, StringConstraints(pattern=f"^{_TAG}*$", max_length=256)]


def _known(zone: str) -> str:
    """AWS names a wrong zone only once the endpoint is made; a machine may have no list of them, though."""
    if zone == "UTC":  # the usual one: to list all takes every script a while
        return zone
    zones = zoneinfo.available_timezones()
    if zones and zone not in zones:
        raise ValueError(f"there is no time zone {zone!r}: take one such as Europe/Berlin")
    return zone


TimeZone = Annotated[str, AfterValidator(_known)]


class Storage(Section):
    """Where data and results lie."""

    bucket: Bucket = ""
    kms_key: str = ""


class Access(Section):
    """What jobs and endpoints may do."""

    role: RoleArn = ""


class Images(Section):
    """Both images' repositories in ECR, and their tag."""

    train: Repository = "dog-breeds-train"
    serve: Repository = "dog-breeds-serve"
    tag: ImageTag = ""


class Network(Section):
    """What containers can reach."""

    isolation: bool = True
    subnets: tuple[str, ...] = Field(default=(), strict=False)
    security_groups: tuple[str, ...] = Field(default=(), strict=False)
    encrypt_between_hosts: bool = False

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security-groups are needed together")
        return self


class Training(Section):
    """What a training job runs on, and for how long."""

    instance_type: InstanceType = "ml.g4dn.xlarge"
    instances: PositiveInt = 1
    volume_gb: PositiveInt = 50
    input_mode: Literal["File", "FastFile"] = "File"
    spot: bool = True
    max_runtime_seconds: int = Field(default=86_400, ge=1, le=2_419_200)  # the platform's 28 days
    max_wait_seconds: PositiveInt = 172_800
    warm_pool_seconds: int = Field(default=0, ge=0, le=3_600)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.spot and self.max_wait_seconds < self.max_runtime_seconds:
            raise ValueError("max-wait-seconds includes the running: at least max-runtime-seconds")
        if self.spot and self.warm_pool_seconds:
            raise ValueError("spot instances cannot be kept warm: spot = false, or warm-pool-seconds = 0")
        return self


class Endpoint(Section):
    """What an endpoint runs on, and how it is changed and scaled."""

    instance_type: InstanceType = "ml.m5.large"
    instances: PositiveInt = 1
    startup_seconds: int = Field(default=480, ge=60, le=3_600)
    serverless_memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048
    serverless_concurrency: int = Field(default=5, ge=1, le=200)
    async_concurrency: int = Field(default=4, ge=1, le=1_000)
    success_topic: TopicArn = ""
    error_topic: TopicArn = ""
    shift_wait_seconds: int = Field(default=300, ge=0, le=3_600)
    bake_seconds: int = Field(default=300, ge=0, le=3_600)
    min_instances: PositiveInt = 1
    max_instances: PositiveInt = 4
    scale_out_seconds: int = Field(default=60, ge=0)
    scale_in_seconds: int = Field(default=300, ge=0)
    timezone: TimeZone = "UTC"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_instances > self.max_instances:
            raise ValueError("min-instances is above max-instances")
        return self


class Explain(Section):
    """What a Clarify job runs on, and how closely it looks."""

    instance_type: InstanceType = "ml.m5.xlarge"
    max_runtime_seconds: int = Field(default=7_200, ge=1, le=777_600)  # the platform's 9 days
    samples: PositiveInt = 500
    segments: PositiveInt = 20


class Settings(Section):
    """The whole file."""

    project: Project = "dog-breeds"
    region: str = ""
    account: AccountId = ""
    storage: Storage = Storage()
    access: Access = Access()
    images: Images = Images()
    network: Network = Network()
    training: Training = Training()
    endpoint: Endpoint = Endpoint()
    explain: Explain = Explain()
    tags: dict[TagKey, TagValue] = Field(default_factory=dict)


def read(file: Path, **overrides: object) -> Settings:
    """Read the file, with the command line's values over it; raises SettingsError naming each wrong key."""
    return configuration.read(Settings, file, what="an account's settings", **overrides)
