"""One thing that the project has in its account, and what takes it away. Made for `inventory`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from launcher import plain_text
from launcher.calls import Call
from launcher.tagged import Tagged


@dataclass(frozen=True)
class Thing:
    """Its kind and name, as a person reads them, and the calls that take it away: none while it is going."""

    kind: str
    name: str
    calls: tuple[Call, ...] = ()
    tried: tuple[Call, ...] = ()  # before the calls, which are made whatever becomes of these
    empty: Callable[[], None] | None = None  # what is in it goes before, with as many calls as that takes
    status: str = ""
    is_going: bool = False
    is_used: bool = False  # by something that is not the project's
    is_data: bool = False
    is_kept: bool = False  # as a person has asked for
    of_setup: bool = False  # made by setup_account.py
    used_by: str = ""  # the kind of thing that has to go first: it may need this one

    def __str__(self) -> str:
        """One line of a list."""
        return plain_text.line(f"{self.kind} {self.name}{f' ({self.status})' if self.status else ''}")


Finder = Callable[[Tagged], Iterator[Thing]]
