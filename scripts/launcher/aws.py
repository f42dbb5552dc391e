"""The AWS account that a script works in: its clients, and what its errors mean for a person."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from launcher.errors import SettingsError, WorkFailed

# Throttled requests are sent again, ever more slowly; a lost connection is no reason to give up at once.
_CONFIG = Config(retries={"mode": "adaptive", "max_attempts": 10}, user_agent_extra="dog-breeds")
# For what is done without where it is not answered soon.
_HURRY = _CONFIG.merge(
    Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=10)
)
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"}


class NoAnswer(WorkFailed):
    """AWS cannot be reached: whether a request has arrived is not known."""


def client(service: str, *, region: str | None = None, in_a_hurry: bool = False) -> Any:
    """Return a client of the account that the environment names (AWS_PROFILE, AWS_REGION, …)."""
    with explained():
        # boto3 alone of AWS's libraries does not look at AWS_REGION.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        config = _HURRY if in_a_hurry else _CONFIG
        return session.client(service, region_name=region, config=config)  # type: ignore[call-overload]


def region() -> str:
    """Return the region that the environment names; SettingsError when it names none."""
    with explained():
        found = os.environ.get("AWS_REGION") or boto3.Session().region_name
        if not found:
            raise NoRegionError
        return found


@contextmanager
def explained(*, missing: str = "") -> Iterator[None]:
    """Turn AWS's errors into SettingsError, where a person has to act, or WorkFailed.

    `missing` is said, as a SettingsError, where there is nothing of the name that was asked about.
    """
    try:
        yield
    except NoCredentialsError:
        raise SettingsError(
            "there are no AWS credentials: `aws configure`, `aws sso login`, or AWS_PROFILE"
        ) from None
    except NoRegionError:
        raise SettingsError("no AWS region is set: AWS_REGION, or `aws configure`") from None
    except ClientError as error:
        raise SettingsError(missing) if missing and _is_missing(error) else _meaning(error) from None
    except (BotoCoreError, Boto3Error) as error:
        raise NoAnswer(f"AWS cannot be reached: {error}") from None


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
    return bool(named) or code == "404" or code.startswith(("ResourceNotFound", "ObjectNotFound"))


def _meaning(error: ClientError) -> Exception:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code in _EXPIRED:
        return SettingsError(f"the AWS credentials are not valid any more ({code}): log in again")
    if code in _DENIED:
        denied = re.search(r"not authorized to perform: (\S+)(?: on resource: (\S+))?", message)
        action = denied[1] if denied else error.operation_name
        resource = f" on {denied[2]}" if denied and denied[2] else ""
        return SettingsError(f"this AWS identity may not do {action}{resource}: allow it in its policy")
    if code == "ResourceLimitExceeded":
        return SettingsError(_quota(message))
    return WorkFailed(f"AWS refused {error.operation_name} ({code}): {message}")


def _quota(message: str) -> str:
    """Name the quota that is in the way, and where more of it is asked for."""
    named = re.search(r"service limit '([^']+)' is ([\d.]+)", message)
    which = f"'{named[1]}' is {named[2]}" if named else message
    return (
        f"a quota of the account is in the way: {which}. Ask for more of it at "
        f"https://{region()}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas, "
        "or take another instance type"
    )
