"""Searches on this machine: real trials under the real toolkit, of a program that trains nothing."""

import csv
import errno
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import small_search
from optuna.trial import TrialState
from small_search import FATES, LEARNING_RATE, request

from launcher import local_search, study, study_storage
from launcher.errors import SettingsError, WorkFailed
from launcher.process_backend import ProcessBackend
from launcher.requests import Request
from launcher.trials import Trial


@pytest.fixture
def backend(tmp_path: Path) -> ProcessBackend:
    return small_search.backend(tmp_path)


@pytest.fixture
def carry_out(tmp_path: Path, backend: ProcessBackend) -> Callable[[Request], list[Trial]]:
    """Run a search in this process; returns its trials."""

    def run(wanted: Request) -> list[Trial]:
        found, folder = local_search.begin(wanted, tmp_path / "runs", None, print)
        local_search.run(found, backend, folder, print)
        return found.trials()

    return run


GRID = {"batch-size": {"categorical": [16, 17, 18]}}
CarryOut = Callable[[Request], list[Trial]]


def test_a_search_leaves_its_trials_the_best_of_them_and_a_report(
    carry_out: CarryOut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = carry_out(request(tmp_path, **{"max-trials": 3, "max-parallel-trials": 2}))

    folder = tmp_path / "runs/search"
    assert [trial.status for trial in trials] == ["Completed"] * 3
    best = max(trials, key=lambda trial: trial.objective or 0)
    assert json.loads((folder / "best.json").read_text()) == {
        "epochs": 2,
        "learning-rate": float(best.values["learning-rate"]),
    }
    with (folder / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["trial"] for row in rows] == [trial.name for trial in trials]
    assert {round(float(row["objective"]), 6) for row in rows} == {
        round(each.objective or 0, 6) for each in trials
    }
    assert list(best.curve) == [1, 2]
    assert (folder / best.name / "training.log").exists()
    assert (folder / best.name / "output/data/result.json").read_text() == "2"  # trials at once
    page = (folder / "report.html").read_text()
    assert "Objective over time" in page
    assert not re.search(r"(src|href)=.http|url\(http|@import", page)
    assert (folder / "history.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "Completed" in printed
    assert f"best: {folder / 'best.json'}" in printed


def test_a_trial_that_crashes_says_nothing_or_reports_nan_fails_and_the_others_go_on(
    carry_out: CarryOut, tmp_path: Path
) -> None:
    trials = carry_out(request(tmp_path, strategy="Grid", ranges=FATES))

    found = {json.loads(trial.values["batch-size"]): trial for trial in trials}
    assert found[16].status == "Completed"
    assert {found[fate].status for fate in (32, 64, 128)} == {"Failed"}
    assert "thirty-two is too much for me" in found[32].failure
    assert "its objective is NaN" in found[64].failure
    assert "it reported no objective" in found[128].failure
    assert "validation:accuracy=" in found[128].failure
    assert json.loads((tmp_path / "runs/search/best.json").read_text())["batch-size"] == 16
    assert "thirty-two is too much for me" in (tmp_path / "runs/search/report.html").read_text()


def test_a_report_that_is_no_number_is_none(carry_out: CarryOut, tmp_path: Path) -> None:
    wanted = request(tmp_path, **{"max-trials": 1})
    for metric in wanted["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]:
        metric["Regex"] = "epoch=(two)?"

    with pytest.raises(WorkFailed, match="no trial has an objective"):
        carry_out(wanted)


def test_a_search_of_which_no_trial_succeeds_fails_and_says_why(carry_out: CarryOut, tmp_path: Path) -> None:
    ranges = {"batch-size": {"categorical": [32]}} | LEARNING_RATE

    with pytest.raises(WorkFailed, match="thirty-two is too much for me"):
        carry_out(request(tmp_path, ranges=ranges, **{"max-trials": 2}))

    assert not (tmp_path / "runs/search/best.json").exists()
    assert (tmp_path / "runs/search/trials.csv").exists()


def test_a_trial_below_the_median_is_stopped_early(carry_out: CarryOut, tmp_path: Path) -> None:
    ranges = {"batch-size": {"categorical": [8, 16, 17, 18, 19]}}
    settings = {"early-stopping": "Auto", "max-parallel-trials": 1, "seed": 3}

    trials = carry_out(request(tmp_path, strategy="Grid", ranges=ranges, pause=0.3, epochs=6, **settings))

    found = {json.loads(trial.values["batch-size"]): trial for trial in trials}
    bad = found[8]
    earlier = sum(trial.name < bad.name for trial in trials)
    if earlier < study.MEDIAN_TRIALS:
        pytest.fail(
            f"the grid's order has changed: the bad trial is number {earlier + 1}, choose another seed"
        )
    assert bad.status == "Stopped"
    assert bad.objective == 0.1
    assert 1 <= len(bad.curve) < 6
    assert {trial.status for fate, trial in found.items() if fate != 8} == {"Completed"}


@pytest.mark.parametrize(
    ("end", "expected"), [({"target": 0.3}, 1), ({"trials-without-improvement": 3}, None)]
)
def test_a_search_ends_when_its_criteria_say_so_and_is_not_gone_on_with(
    carry_out: CarryOut, backend: ProcessBackend, tmp_path: Path, *, end: dict[str, Any], expected: int | None
) -> None:
    settings = {"end": end, "max-trials": 30, "max-parallel-trials": 1}

    trials = carry_out(request(tmp_path, epochs=1, **settings))

    values = [trial.objective or 0 for trial in trials]
    if expected is None:
        expected = values.index(max(values)) + 4
    assert len(values) == expected < 30
    again, folder = local_search.attach("search", tmp_path / "runs", None)
    local_search.run(again, backend, folder, print)
    assert len(again.trials()) == expected


def test_time_over_stops_the_running_trials_and_what_they_reported_counts(
    backend: ProcessBackend, tmp_path: Path
) -> None:
    wanted = request(tmp_path, pause=1, epochs=500, **{"max-trials": 2})
    wanted["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxRuntimeInSeconds"] = 8
    found, folder = local_search.begin(wanted, tmp_path / "runs", None, print)
    said: list[str] = []

    local_search.run(found, backend, folder, said.append)

    assert [trial.status for trial in found.trials()] == ["Stopped", "Stopped"]
    assert any("MaxRuntimeInSeconds, 8 s, are over" in line for line in said)
    assert (folder / "best.json").exists()


def test_an_earlier_search_is_learnt_from_where_the_ranges_agree(
    carry_out: CarryOut, backend: ProcessBackend, tmp_path: Path
) -> None:
    parent = carry_out(request(tmp_path, "parent", **{"max-trials": 4}))
    narrow = {"learning-rate": {"continuous": [0.001, 0.01], "scale": "Logarithmic"}}
    inside = sum(float(trial.values["learning-rate"]) <= 0.01 for trial in parent)
    wanted = request(tmp_path, "child", ranges=narrow, **{"max-trials": 1})
    wanted["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
        "WarmStartType": "TransferLearning",
    }
    said: list[str] = []

    child, folder = local_search.begin(wanted, tmp_path / "runs", None, said.append)
    local_search.run(child, backend, folder, said.append)

    assert said[0] == f"warm start: {inside} of 4 trials of parent are of use"
    assert sum(study.PARENT in trial.user_attrs for trial in child.optuna.get_trials()) == inside
    assert len(child.trials()) == 1


def test_a_name_is_given_once_and_an_unknown_one_is_refused(carry_out: CarryOut, tmp_path: Path) -> None:
    wanted = request(tmp_path, **{"max-trials": 1})
    carry_out(wanted)

    with pytest.raises(SettingsError, match="--attach search goes on with that search"):
        local_search.begin(wanted, tmp_path / "runs", None, print)
    with pytest.raises(SettingsError, match=r"there is no search other in .*runs"):
        local_search.attach("other", tmp_path / "runs", None)


# ── processes that die, and processes that share ──────────────────────────────────────────────────────

DRIVER = """
import json, sys
from pathlib import Path
from launcher import command_line, local_search
from launcher.process_backend import ProcessBackend

def main():
    base, wanted = Path(sys.argv[1]), sys.argv[2]
    if wanted.endswith(".json"):
        found = local_search.begin(json.loads(Path(wanted).read_text()), base / "runs", None, print)
    else:
        found = local_search.attach(wanted, base / "runs", None)
    local_search.run(found[0], ProcessBackend(code=base / "code"), found[1], command_line.tell)
    return 0

sys.exit(command_line.run(main))
"""


@pytest.fixture
def start(tmp_path: Path, backend: ProcessBackend) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Begin a search in a process of its own, with a request's file or the name of one to attach to."""
    (tmp_path / "driver.py").write_text(DRIVER)
    started: list[subprocess.Popen[str]] = []

    def begin(wanted: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, tmp_path / "driver.py", tmp_path, wanted],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # As from a person's terminal: a process that a script starts in the background ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


Start = Callable[[str], subprocess.Popen[str]]


def wait_for(tmp_path: Path, done: int, *, running: int) -> list[Trial]:
    """Wait until so many trials are done and so many run."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if list((tmp_path / "runs/search").glob("search-*")):  # the first trial's folder: the study is made
            trials = local_search.attach("search", tmp_path / "runs", None)[0].trials()
            states = [trial.status for trial in trials]
            if states.count("Completed") >= done and states.count("InProgress") >= running:
                return trials
    raise AssertionError("the search does not get that far")


def test_a_killed_tuner_loses_its_running_trials_at_most_and_attach_runs_them_again(
    start: Start, tmp_path: Path
) -> None:
    wanted = request(tmp_path, pause=0.5, epochs=4, **{"max-trials": 5, "max-parallel-trials": 2})
    (tmp_path / "request.json").write_text(json.dumps(wanted))
    tuner = start(str(tmp_path / "request.json"))
    before = wait_for(tmp_path, 1, running=1)
    tuner.send_signal(signal.SIGKILL)
    tuner.wait()

    again = start("search")
    output, _ = again.communicate(timeout=180)

    assert again.returncode == 0, output
    after = {
        trial.name: trial for trial in local_search.attach("search", tmp_path / "runs", None)[0].trials()
    }
    assert [trial.status for trial in after.values()] == ["Completed"] * 5
    done = [trial for trial in before if trial.status == "Completed"]
    assert done
    assert all(after[trial.name].values == trial.values for trial in done)
    running = {
        trial.values["learning-rate"] for trial in before if trial.status == "InProgress" and trial.values
    }
    assert running <= {trial.values["learning-rate"] for trial in after.values()}


def test_a_trial_whose_process_died_before_its_first_sign_of_life_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = local_search.begin(request(tmp_path, **{"max-trials": 1}), tmp_path / "runs", None, print)
    monkeypatch.setattr(study_storage, "LOST_SECONDS", 0)
    values = found.values(found.optuna.ask())
    assert (found.left(), found.running()) == (0, 1)

    found.retry_lost()

    assert (found.left(), found.running()) == (1, 0)
    assert found.values(found.optuna.ask()) == values


def test_a_trial_that_others_took_for_lost_and_that_ends_well_here_is_theirs(
    backend: ProcessBackend, tmp_path: Path
) -> None:
    found, folder = local_search.begin(request(tmp_path, **{"max-trials": 2}), tmp_path / "runs", None, print)
    train, taken = backend.train, []

    def ends_after_it_was_taken(*given: Any, **settings: Any) -> Any:
        job = train(*given, **settings)
        if not taken:
            taken.extend(each for each in found.own() if each.state == TrialState.RUNNING)
            other = study.attach("search", study_storage.in_folder(folder))
            other.optuna.tell(taken[0].number, state=TrialState.FAIL, skip_if_finished=True)
        return job

    backend.train = ends_after_it_was_taken  # type: ignore[method-assign]
    local_search.run(found, backend, folder, print)

    assert len(found.trials()) == 2


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_with_a_seed_processes_do_not_draw_the_same_trials_and_another_search_does(
    tmp_path: Path, strategy: str
) -> None:
    def drawn(runs: str) -> list[str]:
        wanted = request(tmp_path, strategy=strategy, seed=1)
        one, _ = local_search.begin(wanted, tmp_path / runs, None, print)
        two, _ = local_search.attach("search", tmp_path / runs, None)
        return [each.values(each.optuna.ask())["learning-rate"] for each in (one, two, two, one)]

    values = drawn("runs")

    assert len(set(values)) == 4
    assert drawn("others") == values


@pytest.mark.parametrize("more", [{"max-trials": 3}, {"strategy": "Grid", "ranges": GRID}])
def test_after_ctrl_c_the_trials_are_stopped_and_attach_runs_them_again(
    start: Start, tmp_path: Path, more: dict[str, Any]
) -> None:
    wanted = request(tmp_path, pause=0.5, epochs=4, **{"max-parallel-trials": 2}, **more)
    (tmp_path / "request.json").write_text(json.dumps(wanted))
    tuner = start(str(tmp_path / "request.json"))
    wait_for(tmp_path, 0, running=2)

    tuner.send_signal(signal.SIGINT)
    time.sleep(0.3)
    tuner.send_signal(signal.SIGINT)  # a person is impatient
    output, _ = tuner.communicate(timeout=60)

    assert tuner.returncode == 130, output
    assert "--attach search goes on with the search" in output
    assert "Traceback" not in output
    with (tmp_path / "runs/search/trials.csv").open(newline="") as stream:  # written once they were stopped
        assert not [row for row in csv.DictReader(stream) if row["status"] == "InProgress"]
    again = start("search")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    trials = local_search.attach("search", tmp_path / "runs", None)[0].trials()
    assert [trial.status for trial in trials] == ["Completed"] * 3
    assert len({tuple(trial.values.items()) for trial in trials}) == 3


def test_a_fault_that_is_no_trials_own_costs_no_trial(backend: ProcessBackend, tmp_path: Path) -> None:
    wanted = request(tmp_path, pause=0.5, epochs=4, **{"max-trials": 3, "max-parallel-trials": 2})
    found, folder = local_search.begin(wanted, tmp_path / "runs", None, print)
    train, begun = backend.train, []

    def fails_once(*given: Any, **settings: Any) -> Any:
        begun.append(given)
        if len(begun) == 2:
            time.sleep(1)
            raise OSError(errno.ENOSPC, "No space left on device", "somewhere")
        return train(*given, **settings)

    backend.train = fails_once  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        local_search.run(found, backend, folder, print)
    assert found.trials() == []

    local_search.run(*local_search.attach("search", tmp_path / "runs", None)[:1], backend, folder, print)

    assert [trial.status for trial in found.trials()] == ["Completed"] * 3


def test_two_tuners_share_one_study_and_run_no_trial_too_many(start: Start, tmp_path: Path) -> None:
    wanted = request(tmp_path, pause=0.2, epochs=2, **{"max-trials": 7, "max-parallel-trials": 2})
    (tmp_path / "request.json").write_text(json.dumps(wanted))
    one = start(str(tmp_path / "request.json"))
    wait_for(tmp_path, 0, running=1)
    other = start("search")

    outputs = [process.communicate(timeout=180)[0] for process in (one, other)]

    assert [one.returncode, other.returncode] == [0, 0], outputs
    trials = local_search.attach("search", tmp_path / "runs", None)[0].trials()
    assert [trial.status for trial in trials] == ["Completed"] * 7
    assert len({trial.name for trial in trials}) == 7


def test_a_full_disk_under_the_study_stops_the_trials_and_attach_goes_on(
    start: Start, tmp_path: Path
) -> None:
    disk = tmp_path / "runs"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=False).returncode:
        pytest.skip("a full disk needs the right to mount a tmpfs")
    try:
        wanted = request(tmp_path, pause=0.5, epochs=4, **{"max-trials": 3, "max-parallel-trials": 2})
        (tmp_path / "request.json").write_text(json.dumps(wanted))
        tuner = start(str(tmp_path / "request.json"))
        wait_for(tmp_path, 0, running=2)
        with (disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
            while True:
                ballast.write(bytes(4096))

        output, _ = tuner.communicate(timeout=120)

        assert tuner.returncode == 1, output
        assert "full" in output
        assert "Traceback" not in output
        (disk / "ballast").unlink()
        again = start("search")
        output, _ = again.communicate(timeout=180)
        assert again.returncode == 0, output
        trials = local_search.attach("search", tmp_path / "runs", None)[0].trials()
        assert [trial.status for trial in trials] == ["Completed"] * 3
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
