"""Two minutes at 80 % of capacity, by the functions of `benchmarks/sustained_load.py`, and its verdicts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sustained_load
from serving import Server, ours
from sustained_load import SHARE, Minute, capacity, minutes_of_load, report, running, verdicts

MINUTE = Minute(
    requests=600,
    errors=0,
    reasons=[],
    p50=5.0,
    p95=8.0,
    p99=9.0,
    slowest=20.0,
    resident=300.0,
    own=200.0,
    processes=(1, 2, 3),
)


def _met(minutes: list[Minute]) -> list[bool]:
    return [verdict.met for verdict in verdicts(minutes)]


@pytest.fixture(scope="module")
def loaded(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Minute]:
    """Twenty-four stretches of five seconds on a server of their own."""
    with running(ours(base_folder), tmp_path_factory.mktemp("log")) as server:
        rate = SHARE * capacity(server, seconds=2)
        return minutes_of_load(server, rate=rate, count=24, seconds=5, tell=lambda _: None)


@pytest.mark.xdist_group("sustained")
def test_two_minutes_of_load_leave_no_error_the_same_processes_and_flat_memory(loaded: list[Minute]) -> None:
    judged = verdicts(loaded)
    assert len(judged) == 3
    assert all(verdict.met for verdict in judged), (judged, loaded)


def test_an_error_is_found() -> None:
    minutes = [MINUTE] * 3 + [replace(MINUTE, errors=1, reasons=["answered 503"])] + [MINUTE] * 3
    assert _met(minutes) == [False, True, True]


def test_a_worker_that_was_replaced_is_found() -> None:
    assert _met([MINUTE] * 3 + [replace(MINUTE, processes=(1, 2, 4))] * 4) == [True, False, True]


@pytest.mark.parametrize(("a_minute", "flat"), [(0.1, True), (0.4, True), (0.6, False), (2.0, False)])
def test_memory_that_creeps_is_found_and_the_warm_up_is_not(a_minute: float, flat: bool) -> None:
    cold = replace(MINUTE, own=80.0)
    minutes = [cold] + [replace(MINUTE, own=200 + a_minute * number) for number in range(60)]
    assert _met(minutes) == [True, True, flat]


def test_no_request_at_all_is_no_success() -> None:
    assert _met([replace(MINUTE, requests=0)]) == [False, True]


def test_of_an_endpoint_elsewhere_only_the_answers_are_judged() -> None:
    elsewhere = replace(MINUTE, resident=None, own=None, processes=())
    assert _met([elsewhere] * 10) == [True]


def test_an_endpoint_that_goes_away_is_errors_and_not_the_end(base_folder: Path, tmp_path: Path) -> None:
    with running(ours(base_folder), tmp_path) as server:
        elsewhere = Server("endpoint", [], {}, server.port)
        (before,) = minutes_of_load(elsewhere, rate=20, count=1, seconds=1, tell=lambda _: None)
    (after,) = minutes_of_load(elsewhere, rate=20, count=1, seconds=1, tell=lambda _: None)
    assert (before.errors, before.processes) == (0, ())
    assert after.errors == after.requests > 0
    assert "refused" in after.reasons[0]


def test_the_report_has_a_line_a_minute_and_names_the_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sustained_load, "RESULTS", tmp_path / "sustained-load")
    setting = {
        "command": "python x",
        "hardware": "a machine",
        "model": "tiny",
        "capacity": 50.0,
        "rate": 40.0,
    }
    minutes = [MINUTE, replace(MINUTE, errors=2, reasons=["answered 503"])]
    text = report(minutes, setting, verdicts(minutes))
    assert "a machine" in text
    assert "MISSED  no error: 2 of 1,200 requests" in text
    assert len([line for line in text.splitlines() if line.strip().startswith(("1 ", "2 "))]) == 2
    assert (tmp_path / "sustained-load.txt").read_text() == text
    assert json.loads((tmp_path / "sustained-load.json").read_text())["minutes"][1]["reasons"] == [
        "answered 503"
    ]
    assert (tmp_path / "sustained-load.png").read_bytes().startswith(b"\x89PNG")
