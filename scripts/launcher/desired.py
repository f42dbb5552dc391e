"""What the account is to have, looked at, made where it is missing, and mended where it has drifted.

Called by setup_account.py and, for the repositories, by `push_images.py`. Only what carries the project's
tag is ever changed: a bucket, a repository or a role that was there before belongs to somebody.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.account import PROJECT_TAG, Account
from launcher.calls import Call
from launcher.errors import SettingsError


@dataclass(frozen=True)
class Part:
    """One property: how it is looked at, what it is to be, and the call that makes it so."""

    what: str
    look: Call
    found: Callable[[dict[str, Any]], Any]
    wanted: Any
    make: Call
    absent: tuple[str, ...] = ()  # the error codes that say that there is none
    mend: Callable[[Any], Call] | None = None  # where what is there has to be kept beside it

    def repair(self, account: Account) -> bool:
        """Make it so unless it is; returns whether that was needed."""
        answer = self.look.ask(account, self.absent)
        found = None if answer is None else self.found(answer)
        if answer is not None and _covers(found, self.wanted):
            return False
        call = self.make if self.mend is None or found is None else self.mend(found)
        call.send(account)
        return True


@dataclass(frozen=True)
class Resource:
    """A bucket, a repository or a role: that there is one, whose it is, and its properties."""

    name: str
    is_there: Part
    tags: Part
    parts: tuple[Part, ...]

    @property
    def calls(self) -> list[Call]:
        """Every call that makes it where there is nothing."""
        return [part.make for part in (self.is_there, self.tags, *self.parts)]

    def repair(self, account: Account, say: Callable[[str], None]) -> None:
        """Make or mend it; raises SettingsError when it is there and not the project's."""
        made = self.is_there.repair(account)
        if not made:
            self._check_owner(account)
        parts = (self.tags, *self.parts)
        mended = [part.what for part in parts if part.repair(account)]
        if made:
            say(f"{self.name}: made")
        else:
            say(f"{self.name}: mended {', '.join(mended)}" if mended else f"{self.name}: is there")

    def is_own(self, account: Account) -> bool:
        """Tell whether what is there carries the project's tag."""
        answer = self.tags.look.ask(account, self.tags.absent)
        tags = {} if answer is None else self.tags.found(answer)
        return bool(tags.get(PROJECT_TAG) == account.settings.project)

    def _check_owner(self, account: Account) -> None:
        if not self.is_own(account):
            raise SettingsError(
                f"{self.name} is there, and does not carry the tag {PROJECT_TAG}={account.settings.project}: "
                "it is somebody's. Name another one in the settings, or tag it to give it to the project"
            )


def tag_map(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return tags as a mapping, from the API's list of pairs."""
    return {pair["Key"]: pair["Value"] for pair in tags}


def _covers(found: Any, wanted: Any) -> bool:
    """Tell whether all that is wanted was found; what AWS adds for itself is not in the way."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and _covers(found[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_covers, found, wanted))
    return bool(found == wanted)
