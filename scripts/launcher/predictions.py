"""What a model says about pictures, and how it is shown: a table for people, JSON and CSV for machines.

The same shapes as those of `predict` in the serving image.
"""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

FORMATS = ("table", "json", "csv")


@dataclass(frozen=True)
class Ranked:
    """One class with its probability; `name` is the folder's, `label` is for people."""

    name: str
    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, best first, or why there are none."""

    file: str
    top: tuple[Ranked, ...] = ()
    error: str = ""


def show(predictions: Sequence[Prediction], form: str, top_k: int, output: TextIO = sys.stdout) -> None:
    """Write predictions as `table`, `json` or `csv`, the `top_k` best classes of each."""
    if form == "json":
        json.dump([_as_json(prediction, top_k) for prediction in predictions], output, indent=1)
        output.write("\n")
    elif form == "csv":
        _write_csv(predictions, top_k, output)
    else:
        Console(file=output).print(_table(predictions, top_k))


def _as_json(prediction: Prediction, top_k: int) -> dict[str, object]:
    if prediction.error:
        return {"file": prediction.file, "error": prediction.error}
    return {"file": prediction.file, "top": [asdict(ranked) for ranked in prediction.top[:top_k]]}


def _write_csv(predictions: Sequence[Prediction], top_k: int, output: TextIO) -> None:
    rows = csv.writer(output, lineterminator="\n")
    rows.writerow(["file", "rank", "name", "label", "probability", "error"])
    for prediction in predictions:
        if prediction.error:
            rows.writerow([prediction.file, "", "", "", "", prediction.error])
        for rank, ranked in enumerate(prediction.top[:top_k], start=1):
            rows.writerow([prediction.file, rank, ranked.name, ranked.label, ranked.probability, ""])


def _table(predictions: Sequence[Prediction], top_k: int) -> Table:
    table = Table("file", "breed", "probability")
    table.columns[2].justify = "right"
    for prediction in predictions:
        table.add_section()
        if prediction.error:
            table.add_row(escape(prediction.file), f"[red]{escape(prediction.error)}[/red]", "")
        add_ranking(table, [prediction.file], prediction, top_k)
    return table


def add_ranking(table: Table, cells: Sequence[str], prediction: Prediction, top_k: int) -> None:
    """Add a row for each of the best classes to a table; `cells` stand before the first one only."""
    for ranked in prediction.top[:top_k]:
        table.add_row(*map(escape, cells), escape(ranked.label), f"{ranked.probability:.1%}")
        cells = [""] * len(cells)
