"""Who may do what: the bucket's policy, the execution role's, and those of the people who run the scripts.

Called by `bucket`, `role` and setup_account.py, which prints them. tests/aws/test_whole_life.py holds the
people's policies against the calls that the scripts make, test_execution_role.py the role's against what AWS
does for the golden requests: nothing is missing, and nothing is there that is not used.

What SageMaker has is told apart by its tag, whatever its name; what cannot be tagged, or is made by a Clarify
job for itself, by its name.
"""

import json
from collections.abc import Iterable
from typing import Any

from launcher.account import PROJECT_TAG, Account
from launcher.clarify_requests import endpoint_prefix
from launcher.requests import Request

LONGEST = 6144  # characters of a managed policy, white space not counted
_SAGEMAKER = "sagemaker.amazonaws.com"
# What the platform writes for every job and endpoint.
_LOGS = "log-group:/aws/sagemaker/*"
_ENDPOINTS_LOGS = "log-group:/aws/sagemaker/Endpoints/*"


def trust(account: Account) -> Request:
    """Return who may take the execution role: SageMaker, on behalf of this account alone."""
    return _policy(
        {
            "Effect": "Allow",
            "Principal": {"Service": _SAGEMAKER},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": account.id}},
        }
    )


def only_over_tls(account: Account) -> Request:
    """Return the bucket's policy: nobody reaches it without TLS."""
    return _policy(
        {
            "Sid": "OnlyOverTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [_bucket(account), f"{_bucket(account)}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )


def execution(account: Account) -> Request:
    """Return what jobs and endpoints may do.

    Source: "How to use SageMaker AI execution roles" of AWS's documentation, for the project's things alone.
    """
    statements = [
        _allow("Files", ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], f"{_bucket(account)}/*"),
        _allow("Bucket", ["s3:ListBucket"], _bucket(account)),
        _allow(
            "Images",
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            *_repositories(account),
        ),
        _allow("Registry", ["ecr:GetAuthorizationToken"], "*"),
        _allow(
            "Logs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            account.arn("logs", _LOGS),
        ),
        _allow(
            "Metrics",
            ["cloudwatch:PutMetricData"],
            "*",
            StringLike={"cloudwatch:namespace": "/aws/sagemaker/*"},
        ),
        _allow("ClarifysModel", ["sagemaker:DescribeModel"], "*", **_has_tag(account)),
        _allow("ClarifysEndpoint", [f"sagemaker:{each}" for each in _CLARIFYS], *_clarifys(account)),
    ]
    if account.settings.storage.kms_key:
        statements += [
            _key(account, "Key", ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]),
            _key(account, "Disks", ["kms:CreateGrant"], Bool={"kms:GrantIsForAWSResource": "true"}),
        ]
    if account.settings.network.subnets:
        statements.append(_allow("Network", _NETWORK, "*"))
    told = filter(None, (account.settings.endpoint.success_topic, account.settings.endpoint.error_topic))
    if topics := sorted(set(told)):
        statements.append(_allow("Topics", ["sns:Publish"], *topics))
    return _policy(*statements)


# What it takes to make an endpoint for a model, ask it and take it away again, as a Clarify job does.
_CLARIFYS = [
    "AddTags",
    "CreateEndpoint",
    "CreateEndpointConfig",
    "DeleteEndpoint",
    "DeleteEndpointConfig",
    "DescribeEndpoint",
    "DescribeEndpointConfig",
    "InvokeEndpoint",
]
# Of a VPC's network interfaces AWS cannot tell beforehand whose they are.
_NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
]


def operator(account: Account) -> Request:
    """Return what a person needs who trains, deploys and watches: for all scripts but two."""
    statements = [
        _allow("MakeTagged", [f"sagemaker:{each}" for each in _MADE], "*", **_sent_with_tag(account)),
        _allow("Tag", ["sagemaker:AddTags"], "*", StringEquals={"sagemaker:TaggingAction": _MADE}),
        _allow("UseTagged", [f"sagemaker:{each}" for each in _USED], "*", **_has_tag(account)),
        _pass_role(account),
        _allow("LookAtRole", ["iam:GetRole"], account.role),
        _allow("Files", [f"s3:{each}" for each in _FILES], f"{_bucket(account)}/*"),
        _allow("Bucket", ["s3:ListBucket"], _bucket(account)),
        _allow("Registry", ["ecr:GetAuthorizationToken"], "*"),
        _allow("Images", _PUSH, *_repositories(account)),
        _allow("ScaleTagged", _SCALED, "*", **_has_tag(account)),
        _allow("StartScaling", _SCALING_STARTED, "*", **_sent_with_tag(account)),
        _allow(
            "ScalingsOwnRole",
            ["iam:CreateServiceLinkedRole"],
            account.arn("iam", "role/aws-service-role/*", region=""),
            StringEquals={"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"},
        ),
        _allow("Logs", ["logs:FilterLogEvents", "logs:StartQuery"], account.arn("logs", _LOGS)),
        _allow("ClaimLogs", ["logs:TagResource"], account.arn("logs", _ENDPOINTS_LOGS)),
        _allow("Dashboards", ["cloudwatch:PutDashboard"], *_dashboards(account)),
        _allow("Topic", ["sns:CreateTopic", "sns:Subscribe", "sns:TagResource"], _topics(account)),
        _allow("Look", _LOOKED_AT, "*"),
    ]
    if account.settings.storage.kms_key:
        statements += [
            _key(account, "Key", ["kms:Decrypt", "kms:GenerateDataKey"]),
            # For an endpoint's encrypted disks, of whom calls CreateEndpoint:
            # https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html
            _key(account, "Disks", ["kms:CreateGrant"], Bool={"kms:GrantIsForAWSResource": "true"}),
        ]
    return _policy(*statements)


_MADE = [
    "CreateEndpoint",
    "CreateEndpointConfig",
    "CreateHyperParameterTuningJob",
    "CreateModel",
    "CreateProcessingJob",
    "CreateTrainingJob",
    "CreateTransformJob",
]
_USED = [
    "DeleteEndpoint",
    "DeleteEndpointConfig",
    "DeleteModel",
    "DescribeEndpoint",
    "DescribeEndpointConfig",
    "DescribeHyperParameterTuningJob",
    "DescribeProcessingJob",
    "DescribeTrainingJob",
    "DescribeTransformJob",
    "InvokeEndpoint",
    "InvokeEndpointAsync",
    "ListTrainingJobsForHyperParameterTuningJob",
    "StopHyperParameterTuningJob",
    "StopProcessingJob",
    "StopTrainingJob",
    "StopTransformJob",
    "UpdateEndpoint",
]
_FILES = ["AbortMultipartUpload", "DeleteObject", "GetObject", "PutObject"]
_SCALING_STARTED = [
    "application-autoscaling:RegisterScalableTarget",
    "application-autoscaling:TagResource",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
]
_SCALED = [
    "application-autoscaling:DeleteScalingPolicy",
    "application-autoscaling:DeleteScheduledAction",
    "application-autoscaling:DeregisterScalableTarget",
    "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:PutScheduledAction",
    "application-autoscaling:RegisterScalableTarget",  # of one that is there, with other limits
    "cloudwatch:DeleteAlarms",
]
# Lists, and what is of nobody: AWS cannot limit them.
_LOOKED_AT = [
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "application-autoscaling:DescribeScheduledActions",
    "cloudwatch:DescribeAlarms",
    "logs:GetQueryResults",
    "pricing:GetProducts",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListEndpoints",
    "sagemaker:ListModels",
    "sagemaker:ListTags",
    "servicequotas:ListServiceQuotas",
]
_PUSH = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:DescribeRepositories",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
]


def _pass_role(account: Account) -> Request:
    """Let the execution role be given to SageMaker, and to nobody else."""
    return _allow(
        "GiveRole", ["iam:PassRole"], account.role, StringEquals={"iam:PassedToService": _SAGEMAKER}
    )


def administrator(account: Account) -> Request:
    """Return what a person needs who sets the account up and takes all of it away again."""
    role = account.arn("iam", f"role/{account.role_name}", region="")
    statements = [
        _allow("Find", LISTINGS, "*"),
        _allow("EndTagged", [f"sagemaker:{each}" for each in _ENDED], "*", **_has_tag(account)),
        _allow("DeleteTagged", _DELETED, "*", **_has_tag(account)),
        _allow(
            "DeleteClarifys",
            ["sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig"],
            *_clarifys(account),
        ),
        _allow("Dashboards", ["cloudwatch:DeleteDashboards"], *_dashboards(account)),
        _allow("Logs", _LOGS_TAKEN_AWAY, account.arn("logs", _LOGS)),
        _allow("Bucket", [f"s3:{each}" for each in _BUCKET], _bucket(account)),
        _allow("Files", ["s3:AbortMultipartUpload", "s3:DeleteObjectVersion"], f"{_bucket(account)}/*"),
        _allow("Images", [*_MAKE_REPOSITORIES, "ecr:DeleteRepository"], *_repositories(account)),
        _allow("Role", [f"iam:{each}" for each in _ROLE], role),
    ]
    return _policy(*statements)


_MAKE_REPOSITORIES = [
    "ecr:CreateRepository",
    "ecr:DescribeRepositories",
    "ecr:GetLifecyclePolicy",
    "ecr:ListTagsForResource",
    "ecr:PutImageScanningConfiguration",
    "ecr:PutImageTagMutability",
    "ecr:PutLifecyclePolicy",
    "ecr:TagResource",
]
# What AWS cannot limit, or what has to be asked about everybody's things to find one's own.
LISTINGS = {
    "application-autoscaling:DescribeScalableTargets",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListDashboards",
    "cloudwatch:ListTagsForResource",
    "logs:DescribeLogGroups",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListEndpoints",
    "sagemaker:ListHyperParameterTuningJobs",
    "sagemaker:ListModels",
    "sagemaker:ListProcessingJobs",
    "sagemaker:ListTags",
    "sagemaker:ListTrainingJobs",
    "sagemaker:ListTransformJobs",
    "sns:ListTagsForResource",
    "sns:ListTopics",
    "tag:GetResources",
}
_ENDED = [
    "DeleteEndpoint",
    "DeleteEndpointConfig",
    "DeleteModel",
    "StopHyperParameterTuningJob",
    "StopProcessingJob",
    "StopTrainingJob",
    "StopTransformJob",
    "UpdateTrainingJob",  # ends a warm pool
]
_DELETED = [
    "application-autoscaling:DeregisterScalableTarget",
    "cloudwatch:DeleteAlarms",
    "sns:DeleteTopic",
]
_LOGS_TAKEN_AWAY = [
    "logs:DeleteLogGroup",
    "logs:DeleteLogStream",
    "logs:DescribeLogStreams",
    "logs:ListTagsForResource",
    "logs:TagResource",
]
_BUCKET = [
    "CreateBucket",
    "DeleteBucket",
    "GetBucketPolicy",
    "GetBucketPublicAccessBlock",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetEncryptionConfiguration",
    "GetLifecycleConfiguration",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutEncryptionConfiguration",
    "PutLifecycleConfiguration",
    "TagResource",
]
_ROLE = [
    "CreateRole",
    "DeleteRole",
    "DeleteRolePolicy",
    "GetRole",
    "GetRolePolicy",
    "ListRoleTags",
    "PutRolePolicy",
    "TagRole",
    "UpdateAssumeRolePolicy",
]


def all_of(account: Account) -> Request:
    """Return every policy, as setup_account.py prints them."""
    return {
        "trust": trust(account),
        "execution": execution(account),
        "operator": operator(account),
        "administrator": administrator(account),
    }


def actions(policy: Request) -> set[str]:
    """Return all that a policy allows."""
    return {action for statement in policy["Statement"] for action in _list(statement["Action"])}


def size(policy: Request) -> int:
    """Return a policy's length as AWS counts it."""
    return len(json.dumps(policy, separators=(",", ":")))


def _policy(*statements: Request) -> Request:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, allowed: Iterable[str], *resources: str, **condition: Any) -> Request:
    statement = {"Sid": sid, "Effect": "Allow", "Action": sorted(allowed), "Resource": list(resources)}
    return statement | ({"Condition": condition} if condition else {})


def _sent_with_tag(account: Account) -> Request:
    return {"StringEquals": {f"aws:RequestTag/{PROJECT_TAG}": account.settings.project}}


def _has_tag(account: Account) -> Request:
    return {"StringEquals": {f"aws:ResourceTag/{PROJECT_TAG}": account.settings.project}}


def _key(account: Account, sid: str, allowed: Iterable[str], **condition: Any) -> Request:
    """Allow something with the settings' key, which they name by ID, ARN or alias."""
    key = account.settings.storage.kms_key
    if ":alias/" in key or key.startswith(
        "alias/"
    ):  # an alias is no resource of these actions, but a condition
        alias = f"alias/{key.partition('alias/')[2]}"
        named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
        return _allow(sid, allowed, account.arn("kms", "key/*"), **named, **condition)
    return _allow(
        sid, allowed, key if key.startswith("arn:") else account.arn("kms", f"key/{key}"), **condition
    )


def _repositories(account: Account) -> list[str]:
    return [account.arn("ecr", f"repository/{name}") for name in account.repositories]


def _dashboards(account: Account) -> list[str]:
    """Return those that `Account.owns` tells to be the project's."""
    project = account.settings.project
    return [account.arn("cloudwatch", f"dashboard/{name}", region="") for name in (project, f"{project}--*")]


def _topics(account: Account) -> str:
    return account.arn("sns", f"{account.settings.project}--*")


def _clarifys(account: Account) -> list[str]:
    prefix = endpoint_prefix(account)
    return [account.arn("sagemaker", f"{kind}/{prefix}*") for kind in ("endpoint", "endpoint-config")]


def _bucket(account: Account) -> str:
    return f"arn:{account.partition}:s3:::{account.bucket}"


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
