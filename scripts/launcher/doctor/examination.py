"""Carries checks out, one after the other, and counts what they find. Called by `doctor.py`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from launcher.doctor.check import Check, NotApplicable, Severity, Subject, Unjudged
from launcher.errors import SettingsError, WorkFailed

# Exit codes: 1 and 2 are every script's, 3 is also analyze_debug.py's for "something was found".
UNJUDGED, WARNED, FAILED = 1, 3, 4


@dataclass(frozen=True)
class Result:
    """What came of one check: messages, why there is nothing to check, why it could not be, what was done."""

    name: str
    holds: str
    severity: Severity
    remedy: str
    source: str
    found: Sequence[str] = ()
    skipped: str = ""
    unjudged: str = ""
    fixed: str = ""

    @property
    def outcome(self) -> str:
        """Which of them it is, in a word; what was found counts before what could not be judged."""
        if self.found:
            return "fixed" if self.fixed else "found"
        return "skipped" if self.skipped else "unjudged" if self.unjudged else "passed"

    @property
    def open(self) -> bool:
        """Whether there is something left to do."""
        return bool(self.found) and not self.fixed


def examine(checks: Iterable[Check[Subject]], subject: Subject, *, fix: bool = False) -> Iterator[Result]:
    """Yield each check's result as it comes; `fix` mends what can safely be mended."""
    for check in checks:
        outcome = _carry_out(check, subject)
        if fix and check.fix and outcome.found:
            _mend(check.fix, subject, outcome)
        yield Result(check.name, check.holds, check.severity, check.remedy, check.source, **vars(outcome))


@dataclass
class _Outcome:
    found: list[str] = field(default_factory=list)
    skipped: str = ""
    unjudged: str = ""
    fixed: str = ""


def _carry_out(check: Check[Subject], subject: Subject) -> _Outcome:
    outcome = _Outcome()
    try:
        for message in check.look(subject):
            outcome.found.append(message)
    except NotApplicable as reason:
        outcome.skipped = str(reason)
    except (Unjudged, SettingsError, WorkFailed) as reason:
        outcome.unjudged = str(reason)
    except PermissionError as error:
        outcome.unjudged = f"{error.filename} cannot be read: {error.strerror}"
    return outcome


def _mend(fix: Callable[[Subject], str], subject: Subject, outcome: _Outcome) -> None:
    """What cannot be mended stays open, and says so: the other checks still have something to say."""
    try:
        outcome.fixed = fix(subject)
    except (SettingsError, WorkFailed, OSError) as reason:
        outcome.found.append(f"not mended: {reason}")


def exit_code(results: Iterable[Result]) -> int:
    """Return what the worst finding stands for; 0 for notes, and where nothing was found."""
    results = list(results)
    worst = max((result.severity for result in results if result.open), default=Severity.NOTE)
    if worst > Severity.NOTE:
        return FAILED if worst is Severity.ERROR else WARNED
    return UNJUDGED if any(result.unjudged for result in results) else 0
