"""What a person sees of a search: its lines while it goes on, its report at the end."""

from pathlib import Path
from typing import Any

import pytest
import small_search

from launcher import tuning_report, tuning_view
from launcher.search_space import Interval
from launcher.trials import Trial


def trial(number: int, objective: float | None, **more: Any) -> Trial:
    """A trial of small_search's ranges, two epochs long."""
    settled: dict[str, Any] = {
        "name": f"search-{number:03d}",
        "status": "Completed",
        "values": {"learning-rate": f"0.0{number}"},
        "curve": {1: 0.1, 2: objective} if objective is not None else {},
        "seconds": 60.0,
    }
    return Trial(objective=objective, **settled | more)


def test_a_dollar_sign_in_a_metrics_name_is_drawn_as_it_is(tmp_path: Path) -> None:
    request = small_search.request(tmp_path, **{"max-trials": 2})
    name = "cost:$^$"
    request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"] = name

    tuning_report.write(tmp_path / "report.html", request, [trial(1, 0.5), trial(2, 0.6)])

    assert name in (tmp_path / "report.html").read_text()
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_trials_objective_is_in_no_plot() -> None:
    found = [trial(1, 0.5), trial(2, 0.9, status="Failed", failure="the disk is full"), trial(3, 0.6)]

    findings = tuning_report.Findings(found, space=[], objective="validation:accuracy", maximize=True)

    assert [(number, value) for number, _, value in findings.judged] == [(1, 0.5), (3, 0.6)]
    assert findings.best is found[2]


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (trial(1, None, status="InProgress", values={}), []),  # it waits for a place
        (trial(1, None, status="InProgress"), ["search-001 | InProgress: learning-rate 0.01"]),
        (trial(1, None, status="InProgress", curve={1: 0.5}), ["search-001 | epoch 1: 0.5000"]),
        (trial(1, 0.6), ["search-001 | Completed: 0.6000"]),
        (trial(1, None, status="Failed", values={}, failure="why\nwhere"), ["search-001 | Failed: why"]),
    ],
)
def test_a_trials_line_says_what_is_known(tmp_path: Path, found: Trial, lines: list[str]) -> None:
    said: list[str] = []
    with tuning_view.View(small_search.request(tmp_path), lambda: [found], said.append) as view:
        view.refresh()
        view.refresh()

    assert said == lines


@pytest.mark.parametrize(("low", "high"), [(0.002, 0.009), (0.02, 0.5), (0.001, 0.1)])
def test_a_logarithmic_axis_has_its_ends_named(low: float, high: float) -> None:
    ticks = tuning_report._ticks(Interval("learning-rate", low, high, integer=False, scale="Logarithmic"))

    assert (ticks[0], ticks[-1]) == ((0, f"{low:g}"), (pytest.approx(1), f"{high:g}"))
    assert len({text for _, text in ticks}) == len(ticks)
