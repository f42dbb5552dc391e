"""The bucket, the repositories and the role: what setup_account.py makes. Called by `inventory`."""

from collections.abc import Iterator
from functools import partial

from launcher import bucket, repositories, role
from launcher.calls import Call
from launcher.desired import Resource
from launcher.tagged import Tagged
from launcher.things import Thing


def images(tagged: Tagged) -> Iterator[Thing]:
    """Find the repositories, which go with all that is in them."""
    for name in tagged.account.repositories:
        if _is_own(tagged, repositories.wanted(tagged.account, name)):
            request = {"registryId": tagged.account.id, "repositoryName": name, "force": True}
            yield Thing("repository", name, (Call("ecr", "DeleteRepository", request),), of_setup=True)


def storage(tagged: Tagged) -> Iterator[Thing]:
    """Find the bucket, whose every version of every file goes first."""
    account = tagged.account
    if _is_own(tagged, bucket.wanted(account)):
        yield Thing(
            "bucket",
            account.bucket,
            (Call("s3", "DeleteBucket", {"Bucket": account.bucket}),),
            empty=partial(bucket.empty, account),
            is_data=True,
            of_setup=True,
        )


def roles(tagged: Tagged) -> Iterator[Thing]:
    """Find the execution role; one that the settings name is not of the project's making."""
    account = tagged.account
    wanted = role.wanted(account)
    if wanted is not None and _is_own(tagged, wanted):
        name = {"RoleName": account.role_name}
        calls = (
            Call("iam", "DeleteRolePolicy", {**name, "PolicyName": role.POLICY}),
            Call("iam", "DeleteRole", name),
        )
        yield Thing("role", account.role_name, calls, of_setup=True)


def _is_own(tagged: Tagged, resource: Resource) -> bool:
    is_there = resource.is_there.look.ask(tagged.account, resource.is_there.absent) is not None
    return is_there and resource.is_own(tagged.account)
