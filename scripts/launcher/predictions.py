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
from rich.table import Table

from launcher.plain_text import cell

FORMATS = ("table", "json", "csv")


@dataclass(frozen=True)
class Ranked:
    """One class with its probability; `name` is the folder's, `label` is for people."""

    name: str
    label: str
    probability: float


@dataclass(frozen=True)
class Explanation:
    """The class activation map of the best class, rows from the top, and the part of the picture it covers.

    `box` is left, top, right and bottom in pixels of the upright picture (docs/http.md).
    """

    map: Sequence[Sequence[float]]
    box: Sequence[float]


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, best first, or why there are none.

    `variant` is which of an endpoint's has answered, where there are some, and `seconds` after how long;
    `explanation` is there where it was asked for.
    """

    file: str
    top: tuple[Ranked, ...] = ()
    error: str = ""
    variant: str = ""
    seconds: float | None = None
    explanation: Explanation | None = None


def show(predictions: Sequence[Prediction], form: str, top_k: int, output: TextIO | None = None) -> None:
    """Write predictions as `table`, `json` or `csv`, the `top_k` best classes of each."""
    output = output or sys.stdout
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
    shown: dict[str, object] = {
        "file": prediction.file,
        "top": [asdict(ranked) for ranked in prediction.top[:top_k]],
    }
    return shown | ({"variant": prediction.variant} if prediction.variant else {})


def _write_csv(predictions: Sequence[Prediction], top_k: int, output: TextIO) -> None:
    rows = csv.writer(output, lineterminator="\n")
    variants = any(prediction.variant for prediction in predictions)
    rows.writerow(["file", "rank", "name", "label", "probability", "error", *["variant"] * variants])
    for prediction in predictions:
        last = [prediction.variant] * variants
        if prediction.error:
            rows.writerow([prediction.file, "", "", "", "", prediction.error, *last])
        for rank, each in enumerate(prediction.top[:top_k], start=1):
            rows.writerow([prediction.file, rank, each.name, each.label, each.probability, "", *last])


def _table(predictions: Sequence[Prediction], top_k: int) -> Table:
    variants = any(prediction.variant for prediction in predictions)
    table = Table("file", *["variant"] * variants, "breed", "probability")
    table.columns[-1].justify = "right"
    for prediction in predictions:
        table.add_section()
        cells = [prediction.file, *[prediction.variant] * variants]
        if prediction.error:
            table.add_row(*map(cell, cells), cell(prediction.error, "red"), "")
        add_ranking(table, cells, prediction, top_k)
    return table


def add_ranking(table: Table, cells: Sequence[str], prediction: Prediction, top_k: int) -> None:
    """Add a row for each of the best classes to a table; `cells` stand before the first one only."""
    for ranked in prediction.top[:top_k]:
        table.add_row(*map(cell, cells), cell(ranked.label), f"{ranked.probability:.1%}")
        cells = [""] * len(cells)
