"""What was found, for people and for programs. Called by `doctor.py`."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from launcher.doctor.check import Severity
from launcher.doctor.examination import Result, exit_code

_COLOURS = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "red"}


def show(results: Sequence[Result], subject: str) -> None:
    """Print a table of the findings, the worst first, then what was not checked and why."""
    console = Console()
    if found := sorted((each for each in results if each.found), key=lambda each: -each.severity):
        console.print(_table(found, subject))
    for result in results:
        if result.fixed:
            console.print(f"{result.name}: {escape(result.fixed)}")
        if result.unjudged:
            console.print(f"{result.name}: could not be judged: {escape(result.unjudged)}", soft_wrap=True)
    if skipped := [f"{each.name} ({each.skipped})" for each in results if each.skipped]:
        console.print(f"nothing to check: {escape(', '.join(skipped))}", soft_wrap=True)
    fine = sum(not (each.found or each.skipped or each.unjudged) for each in results)
    console.print(f"{escape(subject)}: {fine} of {len(results)} checks found nothing", soft_wrap=True)


def _table(found: Sequence[Result], subject: str) -> Table:
    table = Table(
        "", "check", "found", "what to do", title=escape(subject), title_justify="left", show_lines=True
    )
    for result in found:
        colour = _COLOURS[result.severity]
        table.add_row(
            f"[{colour}]{result.severity.name.lower()}[/]",
            result.name,
            escape("\n".join(result.found)),
            f"{escape(result.remedy)}\n[dim]{result.source}[/]",
        )
    return table


def as_json(results: Sequence[Result], subject: str) -> str:
    """Return all results, the findings with what to do."""
    checks = [vars(result) | {"severity": result.severity.name.lower()} for result in results]
    return json.dumps(
        {"subject": subject, "exit_code": exit_code(results), "checks": checks}, indent=2, ensure_ascii=False
    )
