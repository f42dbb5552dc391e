"""The AWS account that a script works in: its clients, and its errors explained."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from botocore.parsers import ResponseParserError

from launcher import aws_errors
from launcher.errors import SettingsError

# Throttled requests are sent again, ever more slowly; a lost connection is no reason to give up at once.
_CONFIG = Config(retries={"mode": "adaptive", "max_attempts": 10}, user_agent_extra="dog-breeds")
# For what is done without where it is not answered soon.
_HURRY = _CONFIG.merge(
    Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=10)
)
_REGION = "Region"  # in an answer's metadata: see _note_region


def client(service: str, *, region: str | None = None, in_a_hurry: bool = False) -> Any:
    """Return a client of the account that the environment names (AWS_PROFILE, AWS_REGION, …)."""
    with explained():
        # boto3 alone of AWS's libraries does not look at AWS_REGION.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        config = _HURRY if in_a_hurry else _CONFIG
        made = session.client(service, region_name=region, config=config)  # type: ignore[call-overload]
    made.meta.events.register("after-call", partial(_note_region, made.meta.region_name))
    return made


def _note_region(region: str, parsed: dict[str, Any], **_: Any) -> None:
    """Let an answer say which region has given it, as an error's meaning depends on it."""
    parsed.setdefault("ResponseMetadata", {})[_REGION] = region


def region() -> str:
    """Return the region that the environment names; SettingsError when it names none."""
    with explained():
        found = _known_region()
        if not found:
            raise NoRegionError
        return found


def domain(region: str) -> str:
    """Return how the names of a region's services end."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def image(account: str, region: str, repository: str, tag: str) -> str:
    """Return the full name of an image in an account's ECR."""
    return f"{account}.dkr.ecr.{region}.{domain(region)}/{repository}:{tag}"


def _known_region() -> str:
    try:
        return os.environ.get("AWS_REGION") or boto3.Session().region_name or ""
    except BotoCoreError:  # a profile that is not there: its error is told as what it is
        return ""


def _region_of(error: ClientError) -> str:
    return str(error.response.get("ResponseMetadata", {}).get(_REGION) or _known_region())


@contextmanager
def explained(*, missing: str = "") -> Iterator[None]:
    """Turn AWS's errors into SettingsError, where a person has to act, or WorkFailed (`aws_errors`).

    `missing` is said, as a SettingsError, where there is nothing of the name that was asked about.
    """
    try:
        yield
    except ClientError as error:
        known = (
            SettingsError(missing)
            if missing and _is_missing(error)
            else aws_errors.meaning(error, _region_of(error))
        )
        raise known from None
    except (BotoCoreError, Boto3Error, ResponseParserError) as error:
        raise aws_errors.meaning(error, _known_region()) from None


def unless_missing(call: Callable[..., dict[str, Any]], **parameters: Any) -> dict[str, Any] | None:
    """Call an operation about one thing; returns None where there is no such thing."""
    try:
        return call(**parameters)
    except ClientError as error:
        if not _is_missing(error):
            raise
        return None


def _is_missing(error: ClientError) -> bool:
    """Tell whether a name is not known: to SageMaker's operations that is mostly a wrong value."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    named = code in {"ValidationException", "ValidationError"} and re.search(
        r"could not find|not found", message, re.IGNORECASE
    )
    return (
        bool(named) or code in {"404", "NoSuchKey"} or code.startswith(("ResourceNotFound", "ObjectNotFound"))
    )
