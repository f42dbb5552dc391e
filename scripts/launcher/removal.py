"""Taking things away until nothing of them is left, as far as AWS lets go of them.

Called by teardown.py and setup_account.py. Each round lists anew and takes away what it finds: a removal
that broke off is gone on with by the same command, and only what AWS no longer lists is called gone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from launcher import arguments, plain_text
from launcher.account import Account
from launcher.command_line import tell
from launcher.errors import SettingsError, WorkFailed
from launcher.things import Thing

POLL_SECONDS = 10.0
PATIENCE_SECONDS = 1200.0  # endpoints and jobs take some minutes to go
# AWS's words for what was taken away by somebody else in the meantime; a listing knows better.
_GONE = (
    "NoSuchBucket",
    "NoSuchEntity",
    "ObjectNotFoundException",
    "RepositoryNotFoundException",
    "ResourceNotFound",
    "ResourceNotFoundException",
)


@dataclass(frozen=True)
class Left:
    """A thing that was still there, and why, as far as AWS said so."""

    thing: Thing
    reason: str
    may_still_go: bool
    refused: bool = False


def carry_out(account: Account, find: Callable[[], list[Thing]], *, dry_run: bool = False) -> int:
    """Take away what `find` finds until it finds nothing more; returns a script's exit code."""
    if dry_run:
        return _show(find())
    left = Removal(account, find).run()
    for each in left:
        print(plain_text.lines(f"left: {each.thing}: {each.reason}"))
    if not all(each.thing.is_kept for each in left):
        return 1
    print(f"nothing{' else' if left else ''} is left in account {account.id}, {account.region}")
    return 0


def _show(found: list[Thing]) -> int:
    for thing in found:
        if not thing.calls:
            tell(f"{thing}: {_why_it_stays(thing)}")
        if thing.empty is not None:
            tell(f"{thing}: every version of every file in it goes before, a thousand with each request")
    if calls := [call.shown for thing in found for call in (*thing.tried, *thing.calls)]:
        arguments.show(calls)
    return 0


def _why_it_stays(thing: Thing) -> str:
    """Say why there are no calls for it."""
    if thing.is_kept:
        return "is kept"
    return "AWS is at it" if thing.is_going else "left to you"


class Removal:
    """Rounds of listing and taking away."""

    def __init__(self, account: Account, find: Callable[[], list[Thing]]) -> None:
        self._account = account
        self._find = find
        self._taken: set[str] = set()
        self._listed: list[str] = []
        self._told: set[str] = set()

    def run(self) -> list[Left]:
        """Return what cannot be had away; whatever ends it early says what was not yet."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while True:
                before = len(self._taken)
                left = self._round()
                going = [f"{each.thing}: {each.reason}" for each in left if each.may_still_go]
                if not going or time.monotonic() > deadline:
                    return left
                if len(self._taken) == before:  # else the next list is another one
                    tell("\n  ".join(["waiting for", *going]))
                    time.sleep(POLL_SECONDS)
        except BaseException as ending:
            if rest := [name for name in self._listed if name not in self._taken]:
                ending.add_note(f"not deleted yet, and the same command goes on: {', '.join(rest)}")
            raise

    def _round(self) -> list[Left]:
        found = self._find()
        self._listed = [str(thing) for thing in found if not thing.is_kept]
        left: list[Left] = []
        used = False
        for thing in found:
            users = [each for each in left if each.refused and each.thing.kind == thing.used_by]
            if users:  # an endpoint without its configuration can be neither mended nor updated
                reason = f"waits for the {thing.used_by} that may use it"
                left.append(Left(thing, reason, any(each.may_still_go for each in users)))
                continue
            if thing.of_setup and thing.calls and used:  # what stops writes into the bucket by its role
                left.append(Left(thing, "waits for what uses it", any(each.may_still_go for each in left)))
                continue
            left.append(self._take_away(thing))
            used |= not thing.of_setup and (bool(thing.calls) or thing.is_going or thing.is_used)
        return left

    def _take_away(self, thing: Thing) -> Left:
        """Send what takes a thing away; what fails for this one is no reason to spare the others."""
        if not thing.calls:
            return Left(thing, _why_it_stays(thing), thing.is_going)
        self._try(thing)
        try:
            if thing.empty is not None:
                thing.empty()
            for call in thing.calls:
                call.ask(self._account, _GONE)
        except SettingsError as error:
            return Left(thing, str(error), may_still_go=False, refused=True)
        except WorkFailed as error:  # such as an endpoint that is being updated: later it can be
            return Left(thing, str(error), may_still_go=True, refused=True)
        if str(thing) not in self._taken:
            print(f"deleted: {thing}", flush=True)
            self._taken.add(str(thing))
        return Left(thing, "AWS still lists it", may_still_go=True)

    def _try(self, thing: Thing) -> None:
        """Send what goes before; that it cannot be is said once, and no reason to keep what costs."""
        for call in thing.tried:
            try:
                call.ask(self._account, _GONE)
            except (SettingsError, WorkFailed) as error:
                if str(error) not in self._told:
                    tell(f"{thing.kind} {thing.name} goes all the same: {error}")
                self._told.add(str(error))
