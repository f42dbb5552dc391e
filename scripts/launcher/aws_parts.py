"""The models and configurations of an endpoint's deployments on AWS: made, told from all others, removed.

Called by `aws_endpoint`. They cost nothing, but an endpoint whose own are gone cannot be mended any more.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from botocore import xform_name
from botocore.exceptions import ClientError

from launcher import aws, endpoint_requests
from launcher.account import Account
from launcher.deployment import ENDPOINT_TAG, Deployment
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request

_CONFIG, _MODEL = "EndpointConfig", "Model"


class Part(NamedTuple):
    """A configuration or a model: its kind begins the names of the operations and of the fields."""

    kind: str
    name: str


class AwsParts:
    """What there is of one endpoint, and what of it this run has made."""

    def __init__(self, endpoint: str, account: Account) -> None:
        self._endpoint = endpoint
        self._sagemaker = account.client("sagemaker")
        self._made: list[Part] = []
        self._unsure: Part | None = None  # sent, and not answered yet

    def config(self, name: str) -> dict[str, Any] | None:
        """Return a configuration; None where there is none."""
        with aws.explained():
            return aws.unless_missing(self._sagemaker.describe_endpoint_config, EndpointConfigName=name)

    def make(self, plan: Deployment) -> None:
        """Make a plan's models and its configuration."""
        with aws.explained():
            for model in plan.models:
                self._make(_MODEL, model)
            self._make(_CONFIG, plan.config)

    def _make(self, kind: str, request: Request) -> None:
        self._unsure = Part(kind, request[f"{kind}Name"])
        try:
            getattr(self._sagemaker, f"create_{xform_name(kind)}")(**request)
        except ClientError as refused:
            if not refused.response["ResponseMetadata"].get("RetryAttempts"):
                self._unsure = None  # sent once, and refused: what may have this name is somebody else's
            raise
        self._made.append(self._unsure)
        self._unsure = None

    def unmake(self, ending: BaseException) -> None:
        """Remove what this run has made; notes what cannot be."""
        try:
            for part in reversed(self._made):
                self._remove(part)
            if self._unsure and self._unsure.name in self._own(self._unsure.kind):
                self._remove(self._unsure)
        except (SettingsError, WorkFailed) as left:
            names = ", ".join(each.name for each in [*self._made, *filter(None, [self._unsure])])
            ending.add_note(f"of these, which cost nothing, some are left: {names}: {left}")

    def give_up(self) -> None:
        """Take what this run has made for an earlier deployment's: the endpoint is to go, in the same run."""
        self._made.clear()

    def remove_earlier(self, used: Collection[str]) -> list[str]:
        """Remove what earlier deployments have made, and return the names.

        The configurations `used` stay with their models, and this run's, and what was made after them: it is
        another deployment's, which is about to use it.
        """
        configs, models = self._own(_CONFIG), self._own(_MODEL)
        mine = [each.name for each in self._made if each.kind == _CONFIG]
        since = [found["CreationTime"] for found in map(self.config, mine) if found]
        kept = {*used, *mine, *_later(configs, since)}
        needed = {*self._models_of(kept), *_later(models, since)}
        gone = [Part(_CONFIG, name) for name in configs if name not in kept]
        gone += [Part(_MODEL, name) for name in models if name not in needed]
        for part in gone:
            self._remove(part)
        return [each.name for each in gone]

    def _models_of(self, configs: Iterable[str]) -> list[str]:
        found = filter(None, map(self.config, configs))
        return [model for config in found for model in endpoint_requests.models_of(config)]

    def _own(self, kind: str) -> dict[str, datetime]:
        """Return what was made for this endpoint, and when: its name alone may begin another's, too."""
        own = {"Key": ENDPOINT_TAG, "Value": self._endpoint}
        with aws.explained():
            listing = self._sagemaker.get_paginator(f"list_{xform_name(kind)}s")
            pages = listing.paginate(NameContains=self._endpoint)
            return {
                each[f"{kind}Name"]: each["CreationTime"]
                for page in pages
                for each in page[f"{kind}s"]
                if own in self._sagemaker.list_tags(ResourceArn=each[f"{kind}Arn"])["Tags"]
            }

    def _remove(self, part: Part) -> None:
        with aws.explained():
            delete = getattr(self._sagemaker, f"delete_{xform_name(part.kind)}")
            aws.unless_missing(delete, **{f"{part.kind}Name": part.name})


def _later(found: dict[str, datetime], since: list[datetime]) -> list[str]:
    return [name for name, made in found.items() if since and made > max(since)]
