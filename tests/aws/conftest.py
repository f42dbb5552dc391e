"""A moto server over HTTP in AWS's place."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cloud import Cloud

REGION = "eu-central-1"


@contextmanager
def account_on_this_machine() -> Iterator[Cloud]:
    """Start an empty account, and let this process and those that it starts find it."""
    account = Cloud()
    settings = {
        "AWS_ENDPOINT_URL": account.start(),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_REGION"):
            patch.delenv(name, raising=False)
        yield account
    account.stop()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """An empty account of one test."""
    with account_on_this_machine() as account:
        yield account


@pytest.fixture(scope="module")
def lasting_cloud() -> Iterator[Cloud]:
    """An account that the tests of a module share; all of them have to be in one process."""
    with account_on_this_machine() as account:
        yield account
