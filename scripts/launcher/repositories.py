"""The images' repositories in ECR: tags that never move, and a scan of every image that is pushed.

Called by setup_account.py, and by `registry` before a push. A tag that could be pushed twice would let a
job that is repeated run something else, and an endpoint that grows start another program beside the first;
the lifecycle would also delete what the tag has left.
"""

import json
from typing import Any

from launcher.account import Account
from launcher.calls import Call
from launcher.desired import Part, Resource, tag_map
from launcher.requests import Request

KEPT = 50  # images of each repository, the newest
TAGS = "IMMUTABLE"
SCANNING = {"scanOnPush": True}
LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "what a push that broke off has left",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 14,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": f"all but the newest {KEPT}",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT},
            "action": {"type": "expire"},
        },
    ]
}


def wanted(account: Account, name: str) -> Resource:
    """Return what a repository is to be."""
    return Resource(
        f"repository {name}", _is_there(account, name), _tags(account, name), tuple(_parts(account, name))
    )


def _call(account: Account, operation: str, **request: Any) -> Call:
    return Call("ecr", operation, {"registryId": account.id, **request})


def _look(account: Account, name: str) -> Call:
    return _call(account, "DescribeRepositories", repositoryNames=[name])


def _is_there(account: Account, name: str) -> Part:
    key = account.settings.storage.kms_key
    encryption: Request = {"encryptionType": "KMS", "kmsKey": key} if key else {"encryptionType": "AES256"}
    return Part(
        "repository",
        look=_look(account, name),
        found=lambda _: True,
        wanted=True,
        make=_call(
            account,
            "CreateRepository",
            repositoryName=name,
            tags=account.tags,
            imageTagMutability=TAGS,
            imageScanningConfiguration=SCANNING,
            encryptionConfiguration=encryption,  # cannot be changed later
        ),
        absent=("RepositoryNotFoundException",),
    )


def _tags(account: Account, name: str) -> Part:
    arn = account.arn("ecr", f"repository/{name}")
    return Part(
        "tags",
        look=Call("ecr", "ListTagsForResource", {"resourceArn": arn}),
        found=lambda answer: tag_map(answer["tags"]),
        wanted=tag_map(account.tags),
        make=Call("ecr", "TagResource", {"resourceArn": arn, "tags": account.tags}),
    )


def _parts(account: Account, name: str) -> list[Part]:
    return [
        Part(
            "immutable tags",
            look=_look(account, name),
            found=lambda answer: answer["repositories"][0]["imageTagMutability"],
            wanted=TAGS,
            make=_call(account, "PutImageTagMutability", repositoryName=name, imageTagMutability=TAGS),
        ),
        Part(
            "scan on push",
            look=_look(account, name),
            found=lambda answer: answer["repositories"][0]["imageScanningConfiguration"],
            wanted=SCANNING,
            make=_call(
                account,
                "PutImageScanningConfiguration",
                repositoryName=name,
                imageScanningConfiguration=SCANNING,
            ),
        ),
        Part(
            "lifecycle",
            look=_call(account, "GetLifecyclePolicy", repositoryName=name),
            found=lambda answer: json.loads(answer["lifecyclePolicyText"]),
            wanted=LIFECYCLE,
            make=_call(
                account,
                "PutLifecyclePolicy",
                repositoryName=name,
                lifecyclePolicyText=json.dumps(LIFECYCLE),
            ),
            absent=("LifecyclePolicyNotFoundException",),
        ),
    ]
