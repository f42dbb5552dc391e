"""Metric lines: written in one piece, and found again by the regexes that SageMaker is given."""

import re
import subprocess
import sys

import pytest

from trainer import metrics


def extracted(line: str) -> dict[str, float]:
    """The values in a log line, found as SageMaker finds them."""
    found = {
        definition["Name"]: re.search(definition["Regex"], line)
        for definition in metrics.metric_definitions()
    }
    return {name: float(match.group(1)) for name, match in found.items() if match}


def test_every_metric_is_found_in_the_line_that_reports_it() -> None:
    values = {metric.name: 0.1 * number for number, metric in enumerate(metrics.METRICS, 1)}

    line = metrics.metric_line(values, epoch=2)

    assert line.startswith("[metrics] epoch=2 extract:images_per_second=0.1 train:loss=0.2 ")
    assert extracted(line) == pytest.approx(values)


@pytest.mark.parametrize("name", sorted(metrics.NAMES))
def test_a_metric_alone_is_taken_for_no_other(name: str) -> None:
    # `test:accuracy` and `test:top5_accuracy`, for one, must not be read from each other's lines.
    assert extracted(metrics.metric_line({name: 0.25}, epoch=1)) == {name: 0.25}


def test_the_platforms_limits_on_definitions_are_kept() -> None:
    definitions = metrics.metric_definitions()

    assert len(definitions) <= 40
    assert all(len(entry["Name"]) <= 255 and len(entry["Regex"]) <= 500 for entry in definitions)


@pytest.mark.parametrize("value", [1e-12, 3.5e20, 0.0, -1.25, float("inf"), float("-inf")])
def test_extreme_values_survive(value: float) -> None:
    assert extracted(metrics.metric_line({"train:loss": value})) == {"train:loss": value}


def test_a_value_that_is_no_number_is_reported_as_such() -> None:
    line = metrics.metric_line({"train:loss": float("nan"), "train:accuracy": 0.5})

    assert line.endswith("train:loss=nan train:accuracy=0.5")
    assert extracted(line)["train:loss"] != extracted(line)["train:loss"]


def test_a_metric_outside_the_table_is_refused() -> None:
    with pytest.raises(KeyError, match="validation:f1"):
        metrics.metric_line({"validation:f1": 0.5})


def test_other_log_lines_hold_no_metrics() -> None:
    assert extracted("epoch 3/5: 45% of train, loss: 0.3") == {}


def test_the_module_needs_the_standard_library_only() -> None:
    program = (
        "import sys; before = set(sys.modules); import trainer.metrics; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["trainer"]
