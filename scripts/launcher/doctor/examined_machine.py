"""This machine and the AWS account of its settings, as the checks below `machine` ask for them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from launcher import aws
from launcher.account import Account
from launcher.doctor.check import NotApplicable
from launcher.errors import SettingsError, WorkFailed

CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass
class Machine:
    """Where the scripts run, and what AWS says of who runs them."""

    account: Account
    checkout: Path = CHECKOUT
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """AWS's answer to who asks; raises SettingsError or WorkFailed."""
        with aws.explained():
            client = aws.client("sts", region=self.account.region, in_a_hurry=True)
            answer: dict[str, Any] = client.get_caller_identity()
            return answer

    def must_have_region(self) -> None:
        """Raise NotApplicable where no region is known."""
        try:
            self.account.region  # noqa: B018 - it is looked for
        except SettingsError:
            raise NotApplicable("no region is known") from None

    def must_have_identity(self) -> None:
        """Raise NotApplicable where AWS does not know who asks."""
        self.must_have_region()
        try:
            self.identity  # noqa: B018 - it is asked for
        except (SettingsError, WorkFailed):
            raise NotApplicable("AWS does not know who asks") from None

    @property
    def time_at_aws(self) -> float:
        """AWS's own time, in seconds since the epoch, as it answered."""
        self.must_have_identity()
        return parsedate_to_datetime(self.identity["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()

    @property
    def wanted_quotas(self) -> dict[str, int]:
        """How many machines the settings ask for, by the names of AWS's quotas."""
        training, endpoint = self.account.settings.training, self.account.settings.endpoint
        kind = "spot training job" if training.spot else "training job"
        return {
            f"{training.instance_type} for {kind} usage": training.instances,
            f"{endpoint.instance_type} for endpoint usage": endpoint.instances,
        }
