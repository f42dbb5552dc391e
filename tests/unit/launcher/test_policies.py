"""Who may do what: nobody more than the project's own things."""

from typing import Any

import pytest

from launcher import policies, settings
from launcher.account import Account
from launcher.settings import Settings

KMS = "arn:aws:kms:eu-central-1:123456789012"
KEY = "0a1b2c3d-0000-1111-2222-333344445555"
# These alone cannot be told apart by what they are about, says AWS's service authorization reference.
ABOUT_EVERYTHING = {
    "application-autoscaling:DescribeScalingPolicies",
    "application-autoscaling:DescribeScheduledActions",
    "ecr:GetAuthorizationToken",
    "logs:GetQueryResults",
    "pricing:GetProducts",
    "servicequotas:ListServiceQuotas",
}


def account(**sections: Any) -> Account:
    return Account(Settings.model_validate({"account": "123456789012", "region": "eu-central-1"} | sections))


def statements(policy: Any, action: str) -> list[dict[str, Any]]:
    return [statement for statement in policy["Statement"] if action in statement["Action"]]


@pytest.mark.parametrize("name", ["execution", "operator", "administrator"])
def test_each_action_is_named_and_limited(name: str) -> None:
    policy = policies.all_of(account())[name]

    assert not [action for action in policies.actions(policy) if "*" in action]
    for statement in policy["Statement"]:
        if "*" in statement["Resource"] and "Condition" not in statement:
            assert set(statement["Action"]) <= ABOUT_EVERYTHING | policies.LISTINGS, statement["Sid"]


@pytest.mark.parametrize("name", ["execution", "operator", "administrator"])
def test_each_policy_fits_what_aws_takes(name: str) -> None:
    everything = account(
        storage={"kms-key": f"alias/{'k' * 200}", "bucket": "b" * 63},
        network={"subnets": ["subnet-1"], "security-groups": ["sg-1"]},
        project="p" * 24,
    )

    assert policies.size(policies.all_of(everything)[name]) <= policies.LONGEST


def test_the_role_can_be_given_to_sagemaker_alone() -> None:
    (statement,) = statements(policies.operator(account()), "iam:PassRole")

    assert statement["Resource"] == ["arn:aws:iam::123456789012:role/dog-breeds-execution"]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_a_job_may_make_and_ask_the_endpoint_of_an_explanation_and_no_other() -> None:
    (statement,) = statements(policies.execution(account()), "sagemaker:CreateEndpoint")

    endpoints = "arn:aws:sagemaker:eu-central-1:123456789012:endpoint"
    assert statement["Resource"] == [f"{endpoints}{kind}/dog-breeds--explain*" for kind in ("", "-config")]
    assert "sagemaker:InvokeEndpoint" in statement["Action"]


def test_a_key_and_a_network_are_there_only_where_they_are_set() -> None:
    without = policies.actions(policies.execution(account()))
    network = {"subnets": ["subnet-1"], "security-groups": ["sg-1"]}
    with_both = policies.actions(policies.execution(account(storage={"kms-key": KEY}, network=network)))

    assert not {action for action in without if action.startswith(("kms:", "ec2:"))}
    assert {"kms:Decrypt", "kms:CreateGrant", "ec2:CreateNetworkInterface"} <= with_both - without


def test_who_makes_an_endpoint_with_encrypted_disks_may_let_it_use_the_key() -> None:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html, CreateEndpoint
    (statement,) = statements(policies.operator(account(storage={"kms-key": KEY})), "kms:CreateGrant")

    assert statement["Resource"] == [f"{KMS}:key/{KEY}"]
    assert statement["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert "kms:CreateGrant" not in policies.actions(policies.operator(account()))


def test_an_asynchronous_endpoint_may_tell_the_topics_that_are_set_and_no_others() -> None:
    topic = "arn:aws:sns:eu-central-1:123456789012:answers"
    policy = policies.execution(account(endpoint={"success-topic": topic, "error-topic": topic}))

    (statement,) = statements(policy, "sns:Publish")

    assert statement["Resource"] == [topic]
    assert "sns:Publish" not in policies.actions(policies.execution(account()))


@pytest.mark.parametrize(
    ("key", "resource", "alias"),
    [
        (KEY, f"{KMS}:key/{KEY}", None),
        (f"arn:aws:kms:eu-central-1:999:key/{KEY}", f"arn:aws:kms:eu-central-1:999:key/{KEY}", None),
        ("alias/dogs", f"{KMS}:key/*", "alias/dogs"),
        (f"{KMS}:alias/dogs", f"{KMS}:key/*", "alias/dogs"),
    ],
)  # fmt: skip
def test_a_key_may_be_named_by_id_arn_or_alias(key: str, resource: str, alias: str | None) -> None:
    (statement,) = statements(policies.operator(account(storage={"kms-key": key})), "kms:Decrypt")

    assert statement["Resource"] == [resource]
    condition = statement.get("Condition", {}).get("ForAnyValue:StringEquals", {})
    assert condition.get("kms:ResourceAliases") == alias


def test_in_china_the_names_are_of_its_partition() -> None:
    policy = policies.execution(account(region="cn-north-1"))

    (files,) = statements(policy, "s3:PutObject")
    assert files["Resource"] == ["arn:aws-cn:s3:::dog-breeds-123456789012-cn-north-1/*"]


def test_the_settings_defaults_have_policies() -> None:
    shipped = settings.read(settings.DEFAULT_FILE, account="123456789012", region="eu-central-1")

    assert policies.all_of(Account(shipped)).keys() == {"trust", "execution", "operator", "administrator"}
