"""A moto server over HTTP in AWS's place."""

from collections.abc import Iterator

import pytest
from cloud import Cloud

REGION = "eu-central-1"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
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
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    yield account
    account.stop()
