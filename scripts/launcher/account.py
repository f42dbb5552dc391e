"""The AWS account that a project lives in: the names of all that it has there.

Called by the scripts that work on AWS. What the settings leave empty follows from the account and the region,
which are asked for only when a name needs them.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import boto3
from botocore.exceptions import UnknownRegionError

from launcher import aws, revision
from launcher.errors import SettingsError
from launcher.requests import Request
from launcher.settings import Settings

PROJECT_TAG = "project"  # by which everything of a project is found again
UNKNOWN = "000000000000"  # an account in a --dry-run without credentials


class Account:
    """Where a project's bucket, role, images and jobs are."""

    def __init__(
        self, settings: Settings, *, guess: Callable[[str], None] | None = None, foreign: bool = False
    ) -> None:
        """With `guess` a missing account is made up and that is said, instead of a SettingsError.

        Only of a `foreign` account, such as a registry's, may the credentials be another's.
        """
        self.settings = settings
        self._guess = guess
        self._foreign = foreign
        self._clients: dict[str, Any] = {}

    def with_settings(self, settings: Settings) -> "Account":
        """Return the same account with other settings, such as those that the command line changes."""
        return Account(settings, guess=self._guess, foreign=self._foreign)

    def client(self, service: str) -> Any:
        """Return the client of a service in the project's region; threads may share it.

        Raises SettingsError where the credentials are of another account than the settings: see `must_be`.
        """
        if service not in self._clients:
            if self.settings.account and self._guess is None and not self._foreign:
                self.must_be(self._of_credentials)
            self._clients[service] = aws.client(service, region=self.region)
        return self._clients[service]

    def must_be(self, found: str) -> None:
        """Raise SettingsError where credentials are of another account: half of the work would be in each."""
        if self.settings.account not in {"", found}:
            raise SettingsError(
                f"the credentials are of account {found}, and the settings name {self.settings.account}: "
                "take a profile of that account (AWS_PROFILE), or leave account empty in the settings"
            )

    @cached_property
    def _of_credentials(self) -> str:
        with aws.explained():
            return str(aws.client("sts", region=self.region).get_caller_identity()["Account"])

    @cached_property
    def region(self) -> str:
        """The settings', or else the environment's; SettingsError where neither names one."""
        return self.settings.region or aws.region()

    @cached_property
    def id(self) -> str:
        """Twelve digits: the settings', or else the credentials'; SettingsError without them, or a region."""
        if self.settings.account:
            return self.settings.account
        _ = self.region  # without one nobody can be asked: that is said then, and no account made up
        try:
            return self._of_credentials
        except SettingsError as error:
            if self._guess is None:
                raise
            self._guess(f"the account is not known, and shown as {UNKNOWN}: {error}")
            return UNKNOWN

    @cached_property
    def partition(self) -> str:
        """The second part of every ARN: aws, or aws-cn in China; raises SettingsError for no region."""
        try:
            return boto3.Session().get_partition_for_region(self.region)
        except UnknownRegionError:
            raise SettingsError(
                f"AWS has no region {self.region!r}: say another in AWS_REGION, or as region in the settings"
            ) from None

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self.settings.storage.bucket or f"{self.settings.project}-{self.id}-{self.region}"

    def uri(self, *parts: str) -> str:
        """Return s3://<bucket>/<parts>."""
        return "/".join([f"s3://{self.bucket}", *parts])

    @property
    def role(self) -> str:
        """The ARN of the role that jobs and endpoints have."""
        return self.settings.access.role or self.arn("iam", f"role/{self.role_name}", region="")

    @property
    def role_name(self) -> str:
        """The name of the role that setup_account.py makes."""
        return f"{self.settings.project}-execution"

    def image(self, kind: Literal["train", "serve"]) -> str:
        """Return the full name of an image in ECR."""
        return aws.image(self.id, self.region, getattr(self.settings.images, kind), self.tag)

    @cached_property
    def tag(self) -> str:
        """The tag of both images: the settings', or else the revision that they are built from."""
        return self.settings.images.tag or revision.of_images()

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """Return the ARN of a resource of the project's account, by default in its region."""
        return (
            f"arn:{self.partition}:{service}:{self.region if region is None else region}:{self.id}:{resource}"
        )

    @property
    def vpc(self) -> Request | None:
        """The network of jobs and endpoints, as the API takes it; None is SageMaker's own."""
        network = self.settings.network
        if not network.subnets:
            return None
        return {"Subnets": list(network.subnets), "SecurityGroupIds": list(network.security_groups)}

    @property
    def repositories(self) -> list[str]:
        """The names of both images' repositories."""
        return [self.settings.images.train, self.settings.images.serve]

    def named(self, name: str) -> str:
        """Return a name by which something that cannot be tagged is known as the project's: see `owns`."""
        return name if self.owns(name) else f"{self.settings.project}--{name}"

    def owns(self, name: str) -> bool:
        """Tell by its name whether something that cannot be tagged is the project's.

        <project> or <project>--<more>: no other project's name has two hyphens in a row.
        """
        project = self.settings.project
        return name == project or name.startswith(f"{project}--")

    @property
    def tags(self) -> list[dict[str, str]]:
        """What everything of the project is tagged with, as the API takes it."""
        tags = self.settings.tags | {PROJECT_TAG: self.settings.project}
        return [{"Key": key, "Value": value} for key, value in tags.items()]
