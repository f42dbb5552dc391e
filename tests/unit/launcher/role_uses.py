"""For what AWS uses the execution role that a request gives: what has to be allowed, and where that is said.

Called by test_execution_role.py. No test can look at AWS, so this is a table: a row is an operation of
SageMaker ("" is any), what a request of it has somewhere, the actions that follow from it, and the source.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

GUIDE = "https://docs.aws.amazon.com/sagemaker/latest/dg"
ROLES = f"{GUIDE}/sagemaker-roles.html"
ASYNC = f"{GUIDE}/async-inference-create-endpoint-prerequisites.html"
S3_KEYS = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html"
GRANTS = "https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html"

# A container is fetched and started; what it prints goes to the log.
RUNS = {
    "cloudwatch:PutMetricData",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
}
FILES = {"s3:GetObject", "s3:ListBucket", "s3:PutObject"}
NETWORK = {
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
}
# Clarify's container makes an endpoint for the model that it explains, asks it, and removes it.
EXPLAINS = {
    "sagemaker:AddTags",
    "sagemaker:CreateEndpoint",
    "sagemaker:CreateEndpointConfig",
    "sagemaker:DeleteEndpoint",
    "sagemaker:DeleteEndpointConfig",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:DescribeModel",
    "sagemaker:InvokeEndpoint",
}


@dataclass(frozen=True)
class Use:
    """What is allowed to the role because a request of an operation has `part` in it, by its JSON."""

    operation: str
    part: str
    actions: set[str]
    source: str


USES = (
    Use("CreateTrainingJob", '"RoleArn"', RUNS | FILES, f"{ROLES}#sagemaker-roles-createtrainingjob-perms"),
    Use(
        "CreateHyperParameterTuningJob",
        '"RoleArn"',
        RUNS | FILES,
        f"{ROLES}#sagemaker-roles-createhyperparametertiningjob-perms",
    ),
    Use(
        "CreateProcessingJob", '"RoleArn"', RUNS | FILES, f"{ROLES}#sagemaker-roles-createprocessingjob-perms"
    ),
    # AutoML jobs, whose candidates Clarify explains, are the ones of which that page tells the actions; an
    # endpoint that is made with tags takes AddTags (the service authorization reference).
    Use("CreateProcessingJob", '"analysis_config"', EXPLAINS, f"{ROLES}#sagemaker-roles-autopilot-perms"),
    Use(
        "CreateModel",
        '"ExecutionRoleArn"',
        RUNS | {"s3:GetObject"},
        f"{ROLES}#sagemaker-roles-createmodel-perms",
    ),
    # These two have the role of their model.
    Use("CreateTransformJob", '"TransformOutput"', FILES, f"{ROLES}#sagemaker-roles-get-execution-role-s3"),
    Use(
        "CreateEndpointConfig",
        '"DataCaptureConfig"',
        {"s3:PutObject"},
        f"{ROLES}#sagemaker-roles-get-execution-role-s3",
    ),
    Use("CreateEndpointConfig", '"AsyncInferenceConfig"', FILES | {"s3:AbortMultipartUpload"}, ASYNC),
    Use("CreateEndpointConfig", '"NotificationConfig"', {"sns:Publish"}, ASYNC),
    Use("", '"VpcConfig"', NETWORK, ROLES),
    Use("", '"VolumeKmsKeyId"', {"kms:CreateGrant"}, ROLES),
    Use("", '"KmsKeyId"', {"kms:Decrypt", "kms:Encrypt"}, ROLES),
    Use("", '"KmsKeyId"', {"kms:Decrypt", "kms:GenerateDataKey"}, S3_KEYS),
    # Inferred: a grant takes a key's ID or ARN, so somebody has to look an alias up.
    Use("CreateEndpointConfig", '"KmsKeyId": "alias/', {"kms:CreateGrant", "kms:DescribeKey"}, GRANTS),
)


def of(operation: str, request: Any) -> Iterator[Use]:
    """Return the rows that a request of an operation falls under."""
    text = json.dumps(request)
    return (use for use in USES if use.operation in {"", operation} and use.part in text)


def gives_a_role(request: Any) -> bool:
    """Tell whether a request names a role."""
    return any(f'"{name}"' in json.dumps(request) for name in ("RoleArn", "ExecutionRoleArn"))
