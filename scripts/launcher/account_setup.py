"""What setup_account.py makes, mends and takes away again: the bucket, the repositories, the role."""

from collections.abc import Callable

from launcher import bucket, inventory, repositories, role
from launcher.account import Account
from launcher.calls import Call
from launcher.desired import Resource
from launcher.errors import SettingsError
from launcher.things import Thing


def resources(account: Account) -> list[Resource]:
    """Return all that there is to be."""
    own_role = role.wanted(account)
    return [
        bucket.wanted(account),
        *(repositories.wanted(account, name) for name in account.repositories),
        *([own_role] if own_role else []),
    ]


def calls(account: Account) -> list[Call]:
    """Return every call that makes it in an empty account."""
    return [call for resource in resources(account) for call in resource.calls]


def repair(account: Account, say: Callable[[str], None]) -> None:
    """Make what is missing and mend what has drifted; raises SettingsError for what is somebody else's."""
    for resource in resources(account):
        resource.repair(account, say)
    if account.settings.access.role:
        say(f"role {account.role}: is left as it is (--print-policies: what it has to allow)")


def to_delete(account: Account) -> list[Thing]:
    """Return what there is of it; raises SettingsError while anything of the project uses it."""
    found = list(inventory.things(account))
    if others := [str(thing) for thing in found if not thing.of_setup]:
        raise SettingsError(
            "\n  ".join(
                ["the project still has more in this account, which teardown.py takes away:", *others]
            )
        )
    if any(thing.is_data for thing in found) and bucket.has_files(account):
        raise SettingsError(f"there are files in the bucket {account.bucket}: teardown.py deletes them too")
    return found
