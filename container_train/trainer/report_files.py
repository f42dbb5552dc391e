"""The files that a job left, as its report reads them: one may be missing, cut off, or not what it should be.

Called by `trainer.report_head` and `trainer.report_sections`.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from trainer.report_plots import number
from trainer.report_words import scrubbed

# What a file may raise whose content is not what it should be.
DAMAGED = (
    ArithmeticError,
    AttributeError,
    csv.Error,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


class Missing(Exception):  # noqa: N818 - it is no error: the report says so
    """A file is missing or damaged; the message is the sentence for the page."""


def read_history(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Each member's finished epochs, by its name; raises `Missing`."""
    history = read_object(folder, "history.json", "no epoch was finished, or the job was not watched")
    finished = {member: entries for member, entries in history.items() if entries}
    if not finished:
        raise Missing("history.json holds no epoch: the job ended before its first epoch did.")
    return finished


def read_profile(folder: Path) -> dict[str, Any]:
    """What the profiler measured; raises `Missing`."""
    return read_object(
        folder, "profile.json", "the profiler was switched off, or the job ended before it could write"
    )


def read_card(folder: Path) -> dict[str, Any]:
    """How the model did on the test split; raises `Missing`."""
    return read_object(folder, "report_card.json", "the job did not get as far as the test split")


def best_epoch(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The epoch that the job keeps: best by validation accuracy, then by loss."""

    def rank(entry: Mapping[str, Any]) -> tuple[float, float]:
        accuracy = number(entry.get("validation:accuracy"))
        loss = number(entry.get("validation:loss"))
        return (-1.0 if math.isnan(accuracy) else accuracy, -math.inf if math.isnan(loss) else -loss)

    return max(entries, key=rank)


def open_text(folder: Path, name: str, why: str) -> IO[str]:
    """A text file; raises `Missing`, whose sentence says why."""
    try:
        return (folder / name).open(newline="", encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise Missing(f"{name} is missing: {why}.") from None
    except OSError as error:
        raise Missing(f"{name} cannot be read: {reason(error)}.") from None


def read_object(folder: Path, name: str, why: str) -> dict[str, Any]:
    """A JSON object; raises `Missing`, whose sentence says why."""
    with open_text(folder, name, why) as stream:
        try:
            content = json.load(stream)
        except (OSError, RecursionError, ValueError) as error:
            raise Missing(f"{name} is damaged or cut off ({reason(error)}).") from None
    if not isinstance(content, dict):
        raise Missing(f"{name} is damaged: it holds no JSON object.")
    return content


def reason(error: BaseException) -> str:
    """What went wrong, without a path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = scrubbed(error)
    return f"{text} is missing" if isinstance(error, KeyError) else text or type(error).__name__
