"""Writes the answers of offline inference: a table for people, JSON or CSV for machines.

Called by `predict.py`. JSON and CSV are written as the answers come.
"""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from predictor.offline import Answer


def write_json(answers: Iterable[Answer], stream: TextIO) -> None:
    """A list of `{"file", "top": [{"name", "label", "probability"}, …]}` or `{"file", "error"}`.

    With `"explanation"`, the file of the overlay, where there is one.
    """
    separator = "[\n"
    for answer in answers:
        entry: dict[str, object] = {"file": answer.file}
        entry |= (
            {"error": answer.error} if answer.error else {"top": [asdict(guess) for guess in answer.guesses]}
        )
        entry |= {"explanation": str(answer.explanation)} if answer.explanation else {}
        stream.write(separator + json.dumps(entry))
        separator = ",\n"
    stream.write("\n]\n")


def write_csv(answers: Iterable[Answer], stream: TextIO) -> None:
    """Columns file, rank, name, label, probability, error; one row a guess, or one for an error."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "rank", "name", "label", "probability", "error"])
    for answer in answers:
        if answer.error:
            writer.writerow([answer.file, "", "", "", "", answer.error])
        for place, guess in enumerate(answer.guesses, start=1):
            writer.writerow([answer.file, place, guess.name, guess.label, f"{guess.probability:.6f}", ""])


def write_table(answers: Iterable[Answer], stream: TextIO) -> None:
    """A table: the file once, then its guesses, best first."""
    table = Table("file", "breed", "probability")
    table.columns[0].overflow = table.columns[1].overflow = "fold"
    table.columns[2].justify = "right"
    for answer in answers:
        name = escape(answer.file)
        if answer.error:
            table.add_row(name, f"[red]{escape(answer.error)}[/red]", "", end_section=True)
        for place, guess in enumerate(answer.guesses, start=1):
            last = place == len(answer.guesses)
            table.add_row(name, escape(guess.label), f"{guess.probability:.1%}", end_section=last)
            name = ""
    Console(file=stream, width=None if stream.isatty() else 120).print(table)


WRITERS: dict[str, Callable[[Iterable[Answer], TextIO], None]] = {
    "table": write_table,
    "json": write_json,
    "csv": write_csv,
}
