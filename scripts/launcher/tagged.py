"""What carries the project's tag: by the Tagging API, and where that is behind, by each service.

Called by `inventory` and the modules that it lists, and before an endpoint is changed or a job is stopped.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from launcher import aws, endpoint_requests
from launcher.account import PROJECT_TAG, Account
from launcher.aws_errors import DeniedError
from launcher.calls import Call
from launcher.clarify_requests import EXPLAIN
from launcher.desired import tag_map
from launcher.errors import SettingsError


def must_be_own(account: Account, what: str, arn: str, remedy: str) -> None:
    """Raise SettingsError where something of SageMaker is somebody else's: it lacks the project's tag."""
    if not is_own(account, arn):
        raise SettingsError(
            f"the {what} has no tag {PROJECT_TAG}={account.settings.project}, so it is somebody else's and "
            f"is left alone: {remedy}"
        )


def is_own(account: Account, arn: str) -> bool:
    """Tell whether something of SageMaker that is there has the project's tag."""
    own = {"Key": PROJECT_TAG, "Value": account.settings.project}
    with aws.explained():
        return own in account.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]


class Tagged:
    """Tells the project's things from all others of the account, and lists what there is."""

    def __init__(self, account: Account) -> None:
        self.account = account

    @cached_property
    def arns(self) -> set[str]:
        """Everything of the region that the Tagging API knows to be the project's."""
        wanted = [{"Key": PROJECT_TAG, "Values": [self.account.settings.project]}]
        found = self.all(
            "resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", TagFilters=wanted
        )
        return {each["ResourceARN"] for each in found}

    def all(self, service: str, operation: str, key: str, **request: Any) -> list[dict[str, Any]]:
        """Return what all pages of a listing have under a key."""
        with aws.explained():
            pages = self.account.client(service).get_paginator(operation).paginate(**request)
            return [each for page in pages for each in page.get(key, [])]

    def own(self, arn: str, ask: Call, absent: tuple[str, ...], key: str = "Tags") -> bool:
        """Tell whether something is the project's; `ask` lists its tags where the Tagging API is behind."""
        if self._is_listed(arn):
            return True
        answer = ask.ask(self.account, absent)
        if answer is None:
            return False
        tags = answer[key]
        found = tags if isinstance(tags, dict) else tag_map(tags)
        return found.get(PROJECT_TAG) == self.account.settings.project

    def _is_listed(self, arn: str) -> bool:
        try:
            return arn in self.arns
        except DeniedError:  # each service tells the tags of its own things
            return False

    def owns_in_sagemaker(self, arn: str) -> bool:
        """Tell whether something of SageMaker is the project's."""
        if arn.rpartition("/")[2].startswith(self.account.named(EXPLAIN)):
            return True  # what a Clarify job makes for itself is known by its name
        # One that went away in the meantime has no tags any more, whichever way the service says so.
        ask = Call("sagemaker", "ListTags", {"ResourceArn": arn})
        return self.own(arn, ask, absent=("ValidationException", "ResourceNotFound"))

    @cached_property
    def all_endpoints(self) -> list[dict[str, Any]]:
        """The summaries of the region's endpoints, whoever's they are."""
        return self.all("sagemaker", "list_endpoints", "Endpoints")

    @cached_property
    def endpoints(self) -> list[dict[str, Any]]:
        """The summaries of the project's endpoints."""
        return [each for each in self.all_endpoints if self.owns_in_sagemaker(each["EndpointArn"])]

    @cached_property
    def used_by_others(self) -> dict[tuple[str, str], str]:
        """Names of others' endpoints, by what each answers with: ("EndpointConfig" or "Model", its name)."""
        others = [each["EndpointName"] for each in self.all_endpoints if each not in self.endpoints]
        return {part: endpoint for endpoint in others for part in self._parts(endpoint)}

    def _parts(self, endpoint: str) -> Iterator[tuple[str, str]]:
        client = self.account.client("sagemaker")
        with aws.explained():
            found = aws.unless_missing(client.describe_endpoint, EndpointName=endpoint)
            if found is None:
                return
            name = found["EndpointConfigName"]
            yield "EndpointConfig", name
            config = aws.unless_missing(client.describe_endpoint_config, EndpointConfigName=name)
        yield from (("Model", each) for each in endpoint_requests.models_of(config or {}))
