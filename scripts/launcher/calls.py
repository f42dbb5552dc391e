"""One call of an AWS service as data: shown by --dry-run, or sent.

Called by `desired`, and by the modules that say what the account is to have and what is taken away again.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from launcher import aws
from launcher.account import Account
from launcher.requests import Request


@dataclass(frozen=True)
class Call:
    """An operation of a service, and its request."""

    service: str
    operation: str
    request: Request

    @property
    def shown(self) -> tuple[str, Request]:
        """As `arguments.show` takes it."""
        return self.operation, self.request

    def send(self, account: Account) -> dict[str, Any]:
        """Return the answer; raises as `aws.explained` does."""
        with aws.explained():
            return self._answer(account)

    def ask(self, account: Account, absent: Collection[str]) -> dict[str, Any] | None:
        """Return the answer, or None where AWS's error says that there is nothing: one of `absent`."""
        with aws.explained():
            try:
                return self._answer(account)
            except ClientError as error:
                if error.response["Error"]["Code"] in absent:
                    return None
                raise

    def _answer(self, account: Account) -> dict[str, Any]:
        call = getattr(account.client(self.service), xform_name(self.operation))
        answer: dict[str, Any] = call(**self.request)
        return answer
