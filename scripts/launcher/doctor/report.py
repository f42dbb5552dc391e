"""What was found, for people and for programs. Called by `doctor.py`.

Much of it is the words of an image, an archive or a file's name that nobody has judged yet: none of it
reaches a terminal as it is.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table
from rich.text import Text

from launcher import plain_text
from launcher.command_line import page
from launcher.doctor.check import Severity
from launcher.doctor.examination import Result, exit_code
from launcher.plain_text import cell

_COLOURS = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "red"}


def in_short(result: Result) -> str:
    """Return a line about a check, for whoever watches."""
    if result.found:
        return f"{result.name}: {result.severity.name.lower()}"
    if result.skipped or result.unjudged:
        return f"{result.name}: {'nothing to check' if result.skipped else 'could not be judged'}"
    return f"{result.name}: fine, {result.holds}"


def show(results: Sequence[Result], subject: str) -> None:
    """Print a table of the findings, the worst first, then what was not checked and why."""
    if found := sorted((each for each in results if each.found), key=lambda each: -each.severity):
        page().print(_table(found, subject))
    for source, names in _together((each.source, each.name) for each in found):
        _say(f"{names}: see {source}")  # whole, and not in a narrow cell
    for result in results:
        if result.fixed:
            _say(f"{result.name}: {result.fixed}")
    for reason, names in _together((each.unjudged, each.name) for each in results):
        _say(f"{names}: could not be judged: {reason}")
    for reason, names in _together((each.skipped, each.name) for each in results):
        _say(f"nothing to check, as {reason}: {names}")
    fine = sum(each.outcome == "passed" for each in results)
    _say(f"{subject}: {fine} of {len(results)} checks found nothing")


def _together(names: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each reason, or source, with the names of the checks that share it; "" is none."""
    shared: dict[str, list[str]] = {}
    for what, name in names:
        shared.setdefault(what, []).append(name)
    yield from ((what, ", ".join(those)) for what, those in shared.items() if what)


def _say(text: str) -> None:
    page().print(plain_text.lines(text), soft_wrap=True, markup=False, emoji=False)


def _table(found: Sequence[Result], subject: str) -> Table:
    table = Table(title=cell(subject), title_justify="left", show_lines=True)
    for name in ("", "check", "found", "what to do"):
        table.add_column(name, overflow="fold")
    for result in found:
        table.add_row(
            Text(result.severity.name.lower(), _COLOURS[result.severity]),
            result.name,
            cell("\n".join(result.found)),
            Text(result.remedy),
        )
    return table


def as_json(results: Sequence[Result], subject: str) -> str:
    """Return all results, the findings with what to do; in ASCII, so that a terminal may have it, too."""
    checks = [
        {"name": result.name, "result": result.outcome}
        | vars(result)
        | {"severity": result.severity.name.lower()}
        for result in results
    ]
    return json.dumps({"subject": subject, "exit_code": exit_code(results), "checks": checks}, indent=2)
