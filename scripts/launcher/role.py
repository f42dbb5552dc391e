"""The role that jobs and endpoints have. Called by setup_account.py."""

import json
from typing import Any

from launcher import policies
from launcher.account import Account
from launcher.calls import Call
from launcher.desired import Part, Resource, tag_map

POLICY = "execution"  # the name of its one policy
ABSENT = ("NoSuchEntity",)


def wanted(account: Account) -> Resource | None:
    """Return what the role is to be; None where the settings name one that is not of the project's making."""
    if account.settings.access.role:
        return None
    return Resource(f"role {account.role_name}", _is_there(account), _tags(account), tuple(_parts(account)))


def _call(account: Account, operation: str, **request: Any) -> Call:
    return Call("iam", operation, {"RoleName": account.role_name, **request})


def _is_there(account: Account) -> Part:
    return Part(
        "role",
        look=_call(account, "GetRole"),
        found=lambda _: True,
        wanted=True,
        make=_call(
            account,
            "CreateRole",
            AssumeRolePolicyDocument=json.dumps(policies.trust(account)),
            Description=f"What SageMaker's jobs and endpoints of {account.settings.project} may do",
            Tags=account.tags,
        ),
        absent=ABSENT,
    )


def _tags(account: Account) -> Part:
    return Part(
        "tags",
        look=_call(account, "ListRoleTags"),
        found=lambda answer: tag_map(answer["Tags"]),
        wanted=tag_map(account.tags),
        make=_call(account, "TagRole", Tags=account.tags),
    )


def _parts(account: Account) -> list[Part]:
    trust, execution = policies.trust(account), policies.execution(account)
    return [
        Part(
            "trust",
            look=_call(account, "GetRole"),
            found=lambda answer: answer["Role"]["AssumeRolePolicyDocument"],
            wanted=trust,
            make=_call(account, "UpdateAssumeRolePolicy", PolicyDocument=json.dumps(trust)),
        ),
        Part(
            "policy",
            look=_call(account, "GetRolePolicy", PolicyName=POLICY),
            found=lambda answer: answer["PolicyDocument"],
            wanted=execution,
            make=_call(account, "PutRolePolicy", PolicyName=POLICY, PolicyDocument=json.dumps(execution)),
            absent=ABSENT,
        ),
    ]
