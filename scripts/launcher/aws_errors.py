"""What AWS's errors mean for a person, and what to do about each.

Called by `aws.explained`, and with the FailureReason of a job or an endpoint, a text of the same kind.
"""

import re
from collections.abc import Callable

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from launcher.errors import SettingsError, WorkFailed

_POLICIES = "setup_account.py --print-policies shows what it needs"
_NOT_AWS = (
    "what answers is not AWS: a page of a proxy, or of a network that wants a login first? HTTPS_PROXY and "
    "NO_PROXY say which way AWS is reached"
)
_NOT_LOGGED_IN = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
_DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"}
_THROTTLED = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
}
_QUOTA = {"ResourceLimitExceeded", "LimitExceeded", "LimitExceededException", "ServiceQuotaExceededException",
          "TooManyBuckets"}  # fmt: skip
_CLOCK = {"RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch"}
_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "OptInRequired",
}


class NoAnswer(WorkFailed):
    """AWS cannot be reached, or has failed itself: whether it has done what was asked is not known."""


class DeniedError(SettingsError):
    """This identity may not do what was asked; others of its calls may well be answered."""


# What is found in a message, and what to do.
_ADVICE = (
    (
        r"does not have BatchGetImage permission",
        "the execution role may not read it: setup_account.py mends the role",
    ),
    (
        r"image\b.* (not found|does not exist|not exist)|repository .*does not exist",
        "`make push` brings the image there; images.tag in the settings says which one is taken",
    ),
    (
        r"exec format error|[Uu]nsupported (image )?architecture|architecture .*not (match|support)",
        "the image is of another architecture than the instance: `make build push PLATFORM=linux/amd64`, "
        "or linux/arm64 for Graviton (ml.c7g, …)",
    ),
    (
        r"[Uu]nsupported manifest media type",
        "SageMaker takes docker's own manifests alone: build with --provenance=false, as `make build` does",
    ),
    (
        r"CapacityError|InsufficientInstanceCapacity|[Uu]nable to provision",
        "AWS has no such machine free now: later, another instance type, or training.spot = false",
    ),
    (
        r"(bucket|S3).*(same|different|another) region|in the same region",
        "the bucket and the job have to be in one region: `region` in the settings, or AWS_REGION",
    ),
    (
        r"[Cc]ould not assume role|cannot be assumed|role .*(does not exist|is invalid|cannot be found)",
        "setup_account.py makes the execution role; a new one works after some seconds",
    ),
)


def advice(text: str) -> str:
    """Return what to do about an error's message or a FailureReason; "" where nothing is known."""
    return next((what for pattern, what in _ADVICE if re.search(pattern, text, re.DOTALL)), "")


def advised(text: str) -> str:
    """Return a message with what to do about it."""
    return ": ".join(part for part in (text.rstrip(". "), advice(text)) if part)


def meaning(error: Exception, region: str = "") -> Exception:
    """Return the SettingsError, where a person has to act, or the WorkFailed for an error of botocore.

    `region` is for the links: the console has one for each.
    """
    if isinstance(error, ClientError):
        return _of_service(error, region)
    if isinstance(error, _NOT_LOGGED_IN):
        found = "" if isinstance(error, NoCredentialsError) else f" ({error})"
        return SettingsError(
            f"there are no AWS credentials: `aws configure`, `aws sso login`, or AWS_PROFILE{found}"
        )
    if isinstance(error, NoRegionError):
        return SettingsError("no AWS region is set: AWS_REGION, `region` in the settings, or `aws configure`")
    if isinstance(error, ParamValidationError):  # before anything was sent
        return SettingsError(f"this request is not one that AWS takes: {error}")
    return _unanswered(error)


def _unanswered(error: Exception) -> NoAnswer:
    if isinstance(error, ResponseParserError):
        return NoAnswer(_NOT_AWS)
    if isinstance(error, SSLError):
        return NoAnswer(
            f"AWS cannot be reached: {error} (a proxy that inspects TLS? AWS_CA_BUNDLE names its authority)"
        )
    if isinstance(error, EndpointConnectionError):
        return NoAnswer(f"AWS cannot be reached: {error} Is there a network, and is there such a region?")
    return NoAnswer(f"AWS cannot be reached: {error}")


def _of_service(error: ClientError, region: str) -> Exception:
    if "Error" not in error.response:
        return NoAnswer(_NOT_AWS)
    code = error.response["Error"].get("Code", "")
    message = error.response["Error"].get("Message", "")
    kind: Callable[[str], Exception] = SettingsError
    if code in _EXPIRED:
        text = f"the AWS credentials are not valid any more ({code}): log in again"
    elif code in _DENIED:
        kind = DeniedError
        text = _denied(error.operation_name, message)
    elif code == "403":  # HEAD has no body that would say more
        kind = DeniedError
        text = (
            f"this AWS identity may not do {error.operation_name}: its policy does not allow it, or what is "
            f"asked for is another account's ({_POLICIES})"
        )
    elif code in _QUOTA:
        text = f"a quota of the account is in the way: {_quota(code, message, region)}"
    elif code in _CLOCK:
        text = f"AWS does not take the signature ({code}): is this machine's clock right, and the secret key?"
    elif code in _REGION:
        text = f"this is the wrong region ({code}): {message}: `region` in the settings, or AWS_REGION"
    elif code in _THROTTLED:
        kind = WorkFailed
        text = f"AWS is asked too often ({error.operation_name}, {code}): run the same command again later"
    else:
        failed = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400) >= 500
        kind = SettingsError if advice(message) else NoAnswer if failed else WorkFailed
        text = advised(f"AWS refused {error.operation_name} ({code}): {message}")
    return kind(text)


def _denied(operation: str, message: str) -> str:
    """Say which action on which resource, as far as AWS does."""
    found = re.search(r"not authorized to perform: (\S+)(?: on resource: (\S+))?", message)
    action = found[1] if found else operation
    resource = f" on {found[2]}" if found and found[2] else ""
    return f"this AWS identity may not do {action}{resource}: allow it in its policy ({_POLICIES})"


def _quota(code: str, message: str, region: str) -> str:
    """Name the quota as its list does, with the link to where more is asked for."""
    found = re.search(r"service limit '([^']+)' is ([\d.]+)", message)
    what = f"'{found[1]}' is {found[2]}" if found else message.rstrip(". ")
    console = f"{region}.console" if region else "console"
    quotas = f"https://{console}.aws.amazon.com/servicequotas/home"
    if code != "ResourceLimitExceeded":  # SageMaker's own
        return f"{what}. Ask for more of it at {quotas}"
    return f"{what}. Ask for more of it at {quotas}/services/sagemaker/quotas, or take another instance type"
