"""What a study says of its trials: when the search is over, how many are left, what a later one learns."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState
from small_search import FATES, request

from launcher import local_search
from launcher.errors import SettingsError
from launcher.requests import Request
from launcher.study import FAILURE, STOPPED, Study


def study(tmp_path: Path, name: str = "search", **settings: Any) -> Study:
    return local_search.begin(request(tmp_path, name, **settings), tmp_path / "runs", None, print)[0]


def begin(found: Study) -> optuna.Trial:
    trial = found.optuna.ask()
    found.values(trial)
    return trial


def complete(found: Study, objective: float, trial: optuna.Trial | None = None) -> None:
    found.optuna.tell(trial or begin(found), objective)


def fail(found: Study, objective: float) -> None:
    """A trial that reported something before it failed."""
    trial = begin(found)
    trial.report(objective, 1)
    trial.set_user_attr(FAILURE, "it was too much for me")
    found.optuna.tell(trial, state=TrialState.FAIL)


def test_neither_a_failed_trial_nor_one_without_a_number_reaches_the_target(tmp_path: Path) -> None:
    found = study(tmp_path, end={"target": 0.9})
    fail(found, 0.95)
    fail(found, math.nan)
    begin(found).report(0.97, 1)
    assert not found.reason_to_end()

    complete(found, 0.95)

    assert found.reason_to_end() == "a trial has reached the target, 0.9"


def test_only_trials_that_have_ended_are_no_better_than_the_best_before_them(tmp_path: Path) -> None:
    found = study(tmp_path, end={"trials-without-improvement": 3})
    first = begin(found)
    fail(found, math.nan)
    for objective in (0.5, 0.6):
        complete(found, objective)
    fail(found, 0.1)
    begin(found).report(0.1, 1)
    for objective in (0.55, 0.54):
        complete(found, objective)
    assert not found.reason_to_end()

    complete(found, 0.58, first)  # the first to begin, the last to end

    assert found.reason_to_end() == "3 trials in a row were no better than the best before them"


def test_a_search_that_has_found_what_there_is_converges(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    found = study(tmp_path, strategy="Bayesian", seed=0, end={"converged": True}, **{"max-trials": 60})
    ended = 0
    while ended < 20 or not (found.reason_to_end() or ended == 40):
        trial = begin(found)
        complete(found, 0.9 - (math.log10(trial.params["learning-rate"]) + 2) ** 2 / 10, trial)
        ended += 1

    assert 20 < ended < 40
    assert found.reason_to_end() == "little is left to be gained"
    assert not [each for each in recwarn if issubclass(each.category, (FutureWarning, ExperimentalWarning))]


def test_a_trial_that_was_stopped_and_has_no_number_failed(tmp_path: Path) -> None:
    found = study(tmp_path)
    trial = begin(found)
    trial.set_user_attr(STOPPED, True)  # the median rule does so after a NaN
    found.optuna.tell(trial, state=TrialState.FAIL)

    assert [each.status for each in found.trials()] == ["Failed"]


def test_no_trial_is_stopped_below_the_median_of_fewer_than_three(tmp_path: Path) -> None:
    found = study(tmp_path, **{"early-stopping": "Auto"})
    for last_epoch in (2, 2, 5):
        trial = begin(found)
        for epoch in range(1, last_epoch + 1):
            trial.report(0.8, epoch)
        complete(found, 0.8, trial)
    trial = begin(found)

    trial.report(0.1, 5)
    assert not trial.should_prune()  # only one of the three came so far

    again = begin(found)
    again.report(0.1, 2)
    assert again.should_prune()


def test_a_grid_has_no_more_trials_than_points(tmp_path: Path) -> None:
    wanted = request(tmp_path, strategy="Grid", ranges=FATES)
    for most, left in ((3, 3), (6, 4)):
        wanted["HyperParameterTuningJobName"] = f"most-{most}"
        wanted["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = most
        assert local_search.begin(wanted, tmp_path / "runs", None, print)[0].left() == left


# ── what a later search learns ────────────────────────────────────────────────────────────────────────


def child(tmp_path: Path) -> Request:
    wanted = request(tmp_path, "child")
    wanted["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "search"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    return wanted


def test_only_trials_that_succeeded_are_learnt_from(tmp_path: Path) -> None:
    parent = study(tmp_path)
    fail(parent, 0.95)
    fail(parent, math.nan)
    complete(parent, 0.5)
    begin(parent)
    said: list[str] = []

    found, _ = local_search.begin(child(tmp_path), tmp_path / "runs", None, said.append)

    assert said == ["warm start: 1 of 3 trials of search are of use"]
    assert [trial.value for trial in found.optuna.get_trials()] == [0.5]


def test_a_search_for_something_else_teaches_nothing(tmp_path: Path) -> None:
    study(tmp_path, objective="validation:loss", goal="Minimize")

    with pytest.raises(SettingsError, match=r"search searched for validation:loss \(Minimize\), this search"):
        local_search.begin(child(tmp_path), tmp_path / "runs", None, print)

    assert not (tmp_path / "runs/child").exists()


# ── a search that cannot begin ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("storage", ["nonsense", "sqlite:////nowhere/at/all.db", "mysql+nothing://here/db"])
def test_a_search_that_cannot_begin_leaves_its_name_free(tmp_path: Path, storage: str) -> None:
    with pytest.raises(SettingsError, match=r"the study in|the storage URL"):
        local_search.begin(request(tmp_path), tmp_path / "runs", storage, print)

    assert study(tmp_path).left() == 6


def test_a_folder_without_a_study_is_said_to_be_of_no_use(tmp_path: Path) -> None:
    (tmp_path / "runs/search").mkdir(parents=True)

    with pytest.raises(SettingsError, match=r"it has no search/study.db; remove .*/search to begin"):
        local_search.attach("search", tmp_path / "runs", None)
