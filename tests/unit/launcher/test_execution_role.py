"""What jobs and endpoints may do is what AWS does for the golden requests (role_uses.py), and no more."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import role_uses

from launcher import policies, settings
from launcher.account import Account

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden"


def sent(*files: str) -> list[tuple[str, Any]]:
    """Return the golden requests, with their operations, of the cases with one of these settings files.

    The role is made for the settings: an option may name a key or a network that it does not know.
    """
    cases = [json.loads(case.read_text()) for case in GOLDEN.glob("*/*.json")]
    return [
        (operation, request)
        for case in cases
        if any(f"golden/{name}" in case["command"] for name in files)
        and not {"--kms-key", "--subnets"} & set(case["command"].split())
        for operation, found in case["requests"].items()
        for request in (found if isinstance(found, list) else [found])
    ]


@pytest.mark.parametrize("files", [("settings.toml",), ("settings.toml", "private.toml")], ids=" and ".join)
def test_the_role_is_allowed_what_the_requests_need_and_nothing_else(files: tuple[str, ...]) -> None:
    allowed = policies.actions(policies.execution(Account(settings.read(GOLDEN / files[-1]))))

    uses = [use for operation, request in sent(*files) for use in role_uses.of(operation, request)]
    needed = {action for use in uses for action in use.actions}

    missing, unused = sorted(needed - allowed), sorted(allowed - needed)
    assert not missing and not unused, f"missing: {missing}\nnever used: {unused}"


def test_every_request_that_gives_the_role_has_a_row_and_every_row_a_request() -> None:
    requests = sent("settings.toml", "private.toml", "vpc.toml")
    found = [use for operation, request in requests for use in role_uses.of(operation, request)]

    giving = {operation for operation, request in requests if role_uses.gives_a_role(request)}
    giving -= {"PutRolePolicy", "CreateRole"}  # of IAM: the role itself

    assert not giving - {use.operation for use in role_uses.USES}
    assert [use for use in role_uses.USES if use not in found] == []


@pytest.mark.parametrize("wing", ["container_train", "container_serve"])
def test_our_own_containers_ask_aws_for_nothing(wing: str) -> None:
    imported = re.compile(r"^\s*(?:import|from) (boto3|botocore|sagemaker)\b", re.MULTILINE)

    modules = [*(ROOT / wing).rglob("*.py")]

    assert modules
    assert [str(module) for module in modules if imported.search(module.read_text(encoding="utf-8"))] == []
