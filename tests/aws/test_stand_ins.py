"""What answers in moto's place answers only what moto lacks."""

import importlib

from botocore import xform_name
from cloud import LACKING, REGION

from launcher import policies
from launcher.account import Account
from launcher.settings import Settings

MODULES = {
    "application-autoscaling": "applicationautoscaling",
    "tag": "resourcegroupstaggingapi",
}
NO_CALLS = {"application-autoscaling:TagResource", "iam:PassRole"}  # allowed along with calls


def moto_has(action: str) -> bool:
    """Tell whether moto has the operation of an action, in any of its classes of answers."""
    service, operation = action.split(":")
    try:
        responses = importlib.import_module(f"moto.{MODULES.get(service, service)}.responses")
    except ModuleNotFoundError:
        return False
    return any(hasattr(each, xform_name(operation)) for each in vars(responses).values())


def test_only_what_moto_lacks_is_answered_in_its_place() -> None:
    account = Account(Settings(account="123456789012", region=REGION))
    asked = policies.actions(policies.operator(account)) | policies.actions(policies.administrator(account))
    calls = {action for action in asked - NO_CALLS if not action.startswith("s3:")}  # of S3 moto has all

    assert {action for action in calls if not moto_has(action)} == LACKING
