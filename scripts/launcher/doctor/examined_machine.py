"""This machine and the AWS account of its settings, as the checks below `machine` ask for them."""

import os
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from launcher import aws, docker_engine
from launcher.account import Account
from launcher.doctor.check import NotApplicable, Unjudged
from launcher.errors import SettingsError, WorkFailed

CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass
class Machine:
    """Where the scripts run, and what AWS says of who runs them."""

    account: Account
    checkout: Path = CHECKOUT
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @cached_property
    def images(self) -> Path | None:
        """Where the Docker engine keeps its images; None where it is another machine's, or none answers."""
        try:
            client = docker_engine.connect()
        except SettingsError:
            return None
        with closing(client):
            engine = client.info()
        root = Path(engine["DockerRootDir"])
        return root if engine["Name"] == socket.gethostname() and root.is_dir() else None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """AWS's answer to who asks; raises SettingsError, also for another account's, or WorkFailed."""
        with aws.explained():
            if isinstance(self._answer, ClientError):
                raise self._answer
        self.account.must_be(self._answer["Account"])
        return self._answer

    @cached_property
    def _answer(self) -> dict[str, Any] | ClientError:
        """What AWS says when it is asked who asks, a refusal too: both have the time."""
        with aws.explained():
            client = aws.client("sts", region=self.account.region, in_a_hurry=True)
            try:
                answer: dict[str, Any] = client.get_caller_identity()
            except ClientError as refusal:
                return refusal
            return answer

    def must_have_region(self) -> None:
        """Raise NotApplicable where no region is known."""
        try:
            self.account.region  # noqa: B018 - it is looked for
        except SettingsError:
            raise NotApplicable("no region is known") from None

    def must_have_identity(self) -> None:
        """Raise NotApplicable where AWS does not know who asks, or as another account's."""
        self.must_have_region()
        try:
            self.identity  # noqa: B018 - it is asked for
        except (SettingsError, WorkFailed):
            raise NotApplicable("AWS does not know who asks, or as another account's") from None

    @property
    def time_at_aws(self) -> float:
        """AWS's own time, in seconds since the epoch, as it answered; a wrong clock is itself refused.

        Raises NotApplicable where it does not answer, and Unjudged where its answer has no time.
        """
        self.must_have_region()
        try:
            answer = self._answer
        except (SettingsError, WorkFailed):
            raise NotApplicable("AWS does not answer") from None
        response = answer.response if isinstance(answer, ClientError) else answer
        date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
        if date is None:
            raise Unjudged("AWS's answer has no date: is it a proxy's?")
        return parsedate_to_datetime(date).timestamp()

    @property
    def wanted_quotas(self) -> dict[str, int]:
        """How many machines the settings ask for, by the names of AWS's quotas."""
        training, endpoint = self.account.settings.training, self.account.settings.endpoint
        kind = "spot training job" if training.spot else "training job"
        return {
            f"{training.instance_type} for {kind} usage": training.instances,
            f"{endpoint.instance_type} for endpoint usage": endpoint.instances,
        }
