"""What an identity has to be allowed that makes certain calls: their actions, and what goes with them.

Called by conftest.py after each test, and by test_whole_life.py. Sources: AWS's service authorization
reference, and "IAM permissions for pushing an image to an Amazon ECR private repository".
"""

import json
import re
from collections.abc import Iterable, Iterator

from cloud import Call

SCRIPTS = "dog-breeds"  # in the name that launcher.aws gives its clients
NEEDS_NONE = {"sts:GetCallerIdentity"}  # anybody may ask who they are
# What is needed to say a thing's tags while it is made.
TAGGING = {
    "application-autoscaling:RegisterScalableTarget": "application-autoscaling:TagResource",
    "cloudwatch:PutMetricAlarm": "cloudwatch:TagResource",
    "ecr:CreateRepository": "ecr:TagResource",
    "iam:CreateRole": "iam:TagRole",
    "s3:CreateBucket": "s3:TagResource",
    "sns:CreateTopic": "sns:TagResource",
}
# The first time in an account, the service makes a role of its own.
SERVICE_ROLE = {"application-autoscaling:RegisterScalableTarget": "iam:CreateServiceLinkedRole"}
# A registry is asked with HTTP, as its log has it; ECR tells these apart.
REGISTRY = (
    (r"HEAD /v2/\S+/blobs/", "ecr:BatchCheckLayerAvailability"),
    (r"POST /v2/\S+/blobs/uploads/", "ecr:InitiateLayerUpload"),
    (r"PATCH /v2/\S+/blobs/uploads/", "ecr:UploadLayerPart"),
    (r"PUT /v2/\S+/blobs/uploads/", "ecr:CompleteLayerUpload"),
    (r"PUT /v2/\S+/manifests/", "ecr:PutImage"),
    (r"(GET|HEAD) /v2/\S+/manifests/", "ecr:BatchGetImage"),
)


def of_scripts(calls: Iterable[Call]) -> list[Call]:
    """Return the calls that the project's scripts have made, not the tests themselves."""
    return [call for call in calls if SCRIPTS in call.headers.get("user-agent", "")]


def needed(calls: Iterable[Call]) -> set[str]:
    """Return all that an identity has to be allowed that makes these calls."""
    return {action for call in calls for action in _of(call)} - NEEDS_NONE


def _of(call: Call) -> Iterator[str]:
    yield call.action
    for more in (TAGGING, SERVICE_ROLE):
        if call.action in more:
            yield more[call.action]
    if call.service == "sagemaker" and call.operation.startswith("Create"):
        asked = json.dumps(call.parameters)
        if '"Tags"' in asked:
            yield "sagemaker:AddTags"
        if re.search(r'"(Execution)?RoleArn"', asked):
            yield "iam:PassRole"


def of_registry(log: str) -> set[str]:
    """Return what a registry's log says it was asked for, as the actions of ECR."""
    return {action for pattern, action in REGISTRY if re.search(pattern, log)}
