"""A job of SageMaker that is in progress for some looks and then has ended, which moto does not have."""

import re
from typing import Any

from cloud import Answer, Call, Cloud, error

STARTED = 1_795_000_000


class JobLife:
    """One job of a shape, such as TransformJob."""

    def __init__(
        self,
        cloud: Cloud,
        shape: str,
        name: str,
        *,
        looks: int = 2,
        ending: str = "Completed",
        reason: str = "",
    ) -> None:
        """It has ended after so many `looks`, as `ending` says, for a `reason` where it failed."""
        self.looks, self.ending, self.reason = looks, ending, reason
        self.request: dict[str, Any] = {}
        self._shape, self._name = shape, name
        kind = re.sub(r"(?<!^)(?=[A-Z])", "-", shape).lower()
        self._arn = {f"{shape}Arn": f"arn:aws:sagemaker:eu-central-1:123456789012:{kind}/{name}"}
        cloud.replies |= {
            f"sagemaker:Create{shape}": self._create,
            f"sagemaker:Describe{shape}": self._describe,
            f"sagemaker:Stop{shape}": self._stop,
            "sagemaker:ListTags": self._tags,
        }

    def _create(self, call: Call) -> Answer:
        self.request = call.parameters
        return Answer(self._arn)

    def _describe(self, _: Call) -> Answer:
        if not self.request:
            return error("ValidationException", f"Could not find requested job with name: {self._name}")
        self.looks -= 1
        status = "InProgress" if self.looks >= 0 else self.ending
        reason = {"FailureReason": self.reason} if self.reason and self.looks < 0 else {}
        found = {f"{self._shape}Status": status, "CreationTime": STARTED}
        return Answer(self.request | found | self._arn | reason)

    def _stop(self, _: Call) -> Answer:
        self.ending, self.looks = "Stopped", 0
        return Answer({})

    def _tags(self, call: Call) -> Answer | None:
        """Say its own tags; those of what is not this job moto knows."""
        is_own = call.parameters["ResourceArn"] in self._arn.values()
        return Answer({"Tags": self.request["Tags"]}) if is_own else None
