"""The top of a report: which job it was, how it ended, and its main figures. Called by `trainer.report`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trainer.report_files import DAMAGED, Missing, best_epoch, read_card, read_history, read_object
from trainer.report_words import duration, percent, scrubbed, shown

_FAILURE = 6000  # characters of a failure's text, the last
_STATUS = {"running": "running, or killed: it has not said how it ended"}


@dataclass(frozen=True)
class Fact:
    """A figure of the head: what it is, its value, and more about it."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Head:
    """The top of the page."""

    job: str
    status: str
    failure: str
    facts: Sequence[Fact]
    notes: Sequence[str]


def read_head(folder: Path) -> Head:
    """Name, status and the main figures."""
    notes: list[str] = []
    run: Any = {}
    try:
        run = read_object(folder, "run.json", "the job did not write down what it was")
    except Missing as missing:
        notes.append(str(missing))
    facts = [
        *_guarded_facts(partial(_validation_facts, folder)),
        *_guarded_facts(partial(_test_facts, folder)),
        *_guarded_facts(partial(_run_facts, run)),
    ]
    return Head(
        job=scrubbed(run.get("job_name") or ""),
        status=_STATUS.get(
            str(run.get("status")), str(run.get("status") or "how the job ended is not known")
        ),
        failure=scrubbed(run.get("failure") or "")[-_FAILURE:],
        facts=facts,
        notes=notes,
    )


def _guarded_facts(build: Callable[[], Iterable[Fact]]) -> list[Fact]:
    """The facts, none where their file is missing or damaged: its section says so."""
    try:
        return list(build())
    except (Missing, *DAMAGED):
        return []


def _validation_facts(folder: Path) -> Iterator[Fact]:
    history = read_history(folder)
    if len(history) > 1:
        yield Fact("members", str(len(history)), "their best epochs are below")
        return
    for entries in history.values():
        best = best_epoch(entries)
        yield Fact("best epoch", str(best["epoch"]), f"of {len(entries)}")
        loss = shown(best.get("validation:loss"))
        yield Fact("validation accuracy", percent(best.get("validation:accuracy")), f"loss {loss}")


def _test_facts(folder: Path) -> Iterator[Fact]:
    card = read_card(folder)
    low, high = (percent(card["accuracy_interval"][end]) for end in ("low", "high"))
    interval = f"95 % interval {low} to {high}, {card['pictures']:,} pictures"
    yield Fact("test accuracy", percent(card["accuracy"]), interval)
    yield Fact("among the first five", percent(card["top5"]), "of the test pictures")


def _run_facts(run: Mapping[str, Any]) -> Iterator[Fact]:
    if run.get("seconds"):
        yield Fact("duration", duration(run["seconds"]), str((run.get("machine") or {}).get("device", "")))
    if pictures := run.get("pictures"):
        counts = ", ".join(f"{count:,} {split}" for split, count in pictures.items())
        classes = f"{run['classes']:,} classes" if "classes" in run else ""
        yield Fact("pictures", f"{sum(pictures.values()):,}", f"{counts}; {classes}".rstrip("; "))
