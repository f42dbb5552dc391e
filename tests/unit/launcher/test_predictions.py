"""The shapes of predictions: JSON and CSV for machines, a table for people."""

import csv
import io
import json

from launcher import predictions
from launcher.predictions import Prediction, Ranked

ANSWERS = [
    Prediction(
        "a [1].jpg", (Ranked("001.A", "A", 0.9), Ranked("002.B_b", "B b", 0.05), Ranked("003.C", "C", 0.05))
    ),
    Prediction("b.jpg", error="400 bad_request: not a picture"),
]


def shown(form: str, top_k: int = 2) -> str:
    output = io.StringIO()
    predictions.show(ANSWERS, form, top_k, output)
    return output.getvalue()


def test_json_is_a_list_with_the_best_classes_or_the_error_of_each_file() -> None:
    assert json.loads(shown("json")) == [
        {
            "file": "a [1].jpg",
            "top": [
                {"name": "001.A", "label": "A", "probability": 0.9},
                {"name": "002.B_b", "label": "B b", "probability": 0.05},
            ],
        },
        {"file": "b.jpg", "error": "400 bad_request: not a picture"},
    ]


def test_csv_has_a_row_for_each_rank_and_one_for_each_error() -> None:
    assert list(csv.reader(io.StringIO(shown("csv")))) == [
        ["file", "rank", "name", "label", "probability", "error"],
        ["a [1].jpg", "1", "001.A", "A", "0.9", ""],
        ["a [1].jpg", "2", "002.B_b", "B b", "0.05", ""],
        ["b.jpg", "", "", "", "", "400 bad_request: not a picture"],
    ]


def test_the_table_shows_names_with_brackets_as_they_are_and_the_errors() -> None:
    table = shown("table", top_k=1)

    assert "a [1].jpg" in table
    assert "90.0%" in table
    assert "B b" not in table
    assert "not a picture" in table
