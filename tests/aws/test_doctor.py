"""What the doctor says of an AWS account: who asks, the role, the quotas, the clock."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import boto3
import permissions
import pytest
import script
from cloud import Answer, Cloud, error

from launcher import policies
from launcher.account import Account
from launcher.settings import Settings


@pytest.fixture
def cloud(cloud: Cloud) -> Cloud:
    """An empty account, with quotas."""
    cloud.replies["servicequotas:ListServiceQuotas"] = lambda _: Answer({"Quotas": quotas(1, 8)})
    return cloud


def quotas(training: float, endpoint: float) -> list[dict[str, object]]:
    found = {
        "ml.g4dn.xlarge for spot training job usage": training,
        "ml.m5.large for endpoint usage": endpoint,
        "ml.p5.48xlarge for endpoint usage": 0,
    }
    return [{"QuotaName": name, "Value": value} for name, value in found.items()]


def about_aws(*arguments: str) -> dict[str, list[str]]:
    """Return what is found of the account, by check; what could not be judged counts."""
    done = script.run("doctor", "--environment", "--json", *arguments)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    said = {
        name: [*checks[name]["found"], *filter(None, (checks[name]["unjudged"], checks[name]["skipped"]))]
        for name in ("region", "credentials", "clock", "role", "quotas")
    }
    return {name: messages for name, messages in said.items() if messages}


def test_an_account_without_the_role_lacks_just_that(cloud: Cloud) -> None:
    assert about_aws() == {"role": ["there is no role dog-breeds-execution"]}

    boto3.client("iam").create_role(RoleName="dog-breeds-execution", AssumeRolePolicyDocument="{}")
    assert about_aws() == {}

    asked = permissions.needed(permissions.of_scripts(cloud.calls))
    operator = policies.operator(Account(Settings(account="123456789012", region="eu-central-1")))
    assert asked == {"iam:GetRole", "servicequotas:ListServiceQuotas"} <= policies.actions(operator)


def test_a_quota_below_what_the_settings_ask_for_is_named(cloud: Cloud) -> None:
    boto3.client("iam").create_role(RoleName="dog-breeds-execution", AssumeRolePolicyDocument="{}")
    cloud.replies["servicequotas:ListServiceQuotas"] = lambda _: Answer({"Quotas": quotas(0, 8)})

    assert about_aws() == {
        "quotas": ["ml.g4dn.xlarge for spot training job usage: 0, and the settings ask for 1"]
    }


def test_who_may_not_ask_for_quotas_is_told_so_and_the_rest_is_judged(cloud: Cloud) -> None:
    cloud.replies["servicequotas:ListServiceQuotas"] = lambda _: error("AccessDeniedException")

    said = about_aws()

    assert set(said) == {"role", "quotas"}
    assert "setup_account.py --print-policies" in said["quotas"][0]


def test_credentials_that_have_expired_are_a_finding_and_skip_what_needs_them(cloud: Cloud) -> None:
    expired = b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>"
    cloud.replies["sts:GetCallerIdentity"] = lambda _: Answer(expired, 403, {"Content-Type": "text/xml"})

    said = about_aws()

    assert set(said) == {"credentials", "role", "quotas"}
    assert said["role"] == ["AWS does not know who asks, or as another account's"]


def test_credentials_of_another_account_are_a_finding(cloud: Cloud, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('account = "210987654321"\n')

    said = about_aws("--settings", str(settings))

    assert set(said) == {"credentials", "role", "quotas"}
    assert "the settings name 210987654321" in said["credentials"][0]
    assert "iam:GetRole" not in cloud.actions


def test_a_clock_for_which_aws_refuses_the_signature_is_found(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = b"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>"
    cloud.replies["sts:GetCallerIdentity"] = lambda _: Answer(refused, 403, {"Content-Type": "text/xml"})
    late = SimpleNamespace(time=lambda: time.time() - 7200)
    monkeypatch.setattr("launcher.doctor.machine.clock.time", late)

    said = about_aws()

    assert [message.endswith("behind AWS's") for message in said["clock"]] == [True]
    assert "clock" in said["credentials"][0]


@pytest.mark.parametrize("page", [b"<html><p>Log in<br></html>", b"<html><p>Log in</p></html>"])
def test_a_proxys_page_in_place_of_aws_is_said_to_be_one(cloud: Cloud, page: bytes) -> None:
    cloud.replies["sts:GetCallerIdentity"] = lambda _: Answer(page, 403, {"Content-Type": "text/html"})

    assert "what answers is not AWS" in about_aws()["credentials"][0]
