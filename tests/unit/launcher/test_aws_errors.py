"""What each of AWS's errors is turned into: what is wrong, where, and what to do."""

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ProfileNotFound,
    SSLError,
    UnauthorizedSSOTokenError,
)

from launcher import aws, aws_errors
from launcher.errors import SettingsError, WorkFailed

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/dog-breeds-serve:1.0"
NOBODY = "there are no AWS credentials: `aws configure`, `aws sso login`, or AWS_PROFILE"
DENIED = (
    "User: arn:aws:iam::123456789012:user/me is not authorized to perform: "
    "sagemaker:CreateModel on resource: arn:aws:sagemaker:eu-central-1:123456789012:model/dogs "
    "because no identity-based policy allows it"
)
LIMIT = (
    "The account-level service limit 'ml.g4dn.xlarge for spot training job usage' is 0 "
    "Instances, with current utilization of 0 Instances and a request delta of 1 Instances. Please ask."
)


def refusal(code: str, message: str = "", operation: str = "CreateModel") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


# What a person has to act on, and what is to be said about it.
TO_MEND: list[tuple[Exception, list[str]]] = [
    (NoCredentialsError(), [NOBODY]),
    (ProfileNotFound(profile="dogs"), [NOBODY, "(The config profile (dogs) could not be found)"]),
    (UnauthorizedSSOTokenError(), [NOBODY, "SSO session"]),
    (
        ParamValidationError(report="Unknown parameter"),
        ["not one that AWS takes: Parameter validation failed"],
    ),
    (NoRegionError(), ["no AWS region is set: AWS_REGION"]),
    (refusal("ExpiredToken"), ["not valid any more (ExpiredToken): log in again"]),
    (
        refusal("AccessDeniedException", DENIED),
        [
            "sagemaker:CreateModel on arn:aws:sagemaker:eu-central-1:123456789012:model/dogs: allow",
            "setup_account.py --print-policies",
        ],
    ),
    (refusal("AccessDenied", "Access Denied", "PutObject"), ["may not do PutObject: allow it in its policy"]),
    (refusal("403", "Forbidden", "HeadBucket"), ["may not do HeadBucket", "another account's"]),
    (
        refusal("ResourceLimitExceeded", LIMIT, "CreateTrainingJob"),
        [
            "a quota of the account is in the way: 'ml.g4dn.xlarge for spot training job usage' is 0.",
            "https://eu-central-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas",
        ],
    ),
    (
        refusal("TooManyBuckets", "You have attempted to create more buckets"),
        ["more buckets", "servicequotas"],
    ),
    (
        refusal("IllegalLocationConstraintException", "The us-west-2 location constraint is incompatible"),
        ["the wrong region", "us-west-2", "`region` in the settings, or AWS_REGION"],
    ),
    (
        refusal("ValidationException", "The bucket dogs must be in the same region as the training job"),
        ["in one region: `region` in the settings"],
    ),
    (refusal("RequestTimeTooSkewed"), ["is this machine's clock right"]),
    (
        refusal("ValidationException", f"Requested image {IMAGE} not found."),
        [IMAGE, "`make push`", "images.tag"],
    ),
    (
        refusal("ValidationException", f"Unsupported manifest media type for image {IMAGE}."),
        ["--provenance=false"],
    ),
    (
        refusal(
            "ValidationException",
            f"The role r does not have BatchGetImage permission for the image: {IMAGE}.",
        ),
        ["setup_account.py mends the role"],
    ),
    (
        refusal("ValidationException", "Could not assume role arn:x."),
        ["setup_account.py makes the execution role"],
    ),
]
# What has failed without anybody's fault, or for a reason that nobody foresaw.
FAILED: list[tuple[Exception, list[str]]] = [
    (refusal("ThrottlingException"), ["asked too often (CreateModel, ThrottlingException)", "again later"]),
    (refusal("InternalFailure", "oh"), ["AWS refused CreateModel (InternalFailure): oh"]),
    (
        EndpointConnectionError(endpoint_url="https://api.sagemaker.eu-centrall-1.amazonaws.com"),
        ["AWS cannot be reached", "eu-centrall-1", "is there such a region?"],
    ),
    (SSLError(endpoint_url="https://x", error="self-signed"), ["self-signed", "AWS_CA_BUNDLE"]),
]


@pytest.mark.parametrize(("error", "said"), TO_MEND, ids=lambda each: type(each).__name__)
def test_what_a_person_can_mend_is_a_setting_with_what_to_do(
    error: Exception, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")

    with pytest.raises(SettingsError) as explained, aws.explained():
        raise error

    assert not [part for part in said if part not in str(explained.value)], str(explained.value)


@pytest.mark.parametrize(("error", "said"), FAILED, ids=lambda each: type(each).__name__)
def test_everything_else_is_work_that_failed(error: Exception, said: list[str]) -> None:
    with pytest.raises(WorkFailed) as explained, aws.explained():
        raise error

    assert not [part for part in said if part not in str(explained.value)], str(explained.value)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("AlgorithmError: exec /usr/bin/python: exec format error", "PLATFORM=linux/amd64"),
        ("CapacityError: Unable to provision requested ML compute capacity.", "another instance type"),
    ],
)
def test_a_failure_reason_comes_with_what_to_do(reason: str, said: str) -> None:
    assert aws_errors.advised(reason).startswith(reason.rstrip("."))
    assert said in aws_errors.advised(reason)


def test_a_failure_reason_that_nobody_knows_stays_as_it_is() -> None:
    assert aws_errors.advised("AlgorithmError: the pictures are upside down") == (
        "AlgorithmError: the pictures are upside down"
    )
