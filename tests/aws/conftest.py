"""A moto server over HTTP in AWS's place."""

from collections.abc import Iterator

import permissions
import pytest
from cloud import REGION, Cloud, account_on_this_machine

from launcher import policies
from launcher.account import Account
from launcher.settings import Settings


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """An empty account of one test; all that the scripts ask of it has to be in one of the policies."""
    with account_on_this_machine() as account:
        yield account
    needed = permissions.needed(permissions.of_scripts(account.calls))
    missing = needed - allowed("operator") - allowed("administrator")
    assert not missing, f"launcher.policies allows nobody {sorted(missing)}"


def allowed(name: str) -> set[str]:
    """Return what one of the policies allows."""
    account = Account(Settings(account="123456789012", region=REGION))
    return policies.actions(policies.all_of(account)[name])


@pytest.fixture(scope="module")
def lasting_cloud() -> Iterator[Cloud]:
    """An account that the tests of a module share; all of them have to be in one process."""
    with account_on_this_machine() as account:
        yield account
