"""The memory of a search: an Optuna study in SQLite, or in a database that several machines share.

Opened by scripts/launch_hpo.py, filled by `tuner`. It holds the request too, so that another process, or
another machine, takes part with no more than its name.
"""

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import (
    DuplicatedStudyError,
    UpdateFinishedTrialError,
)
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, GridSampler, RandomSampler
from optuna.storages import RDBStorage
from optuna.terminator import EMMREvaluator, MedianErrorEvaluator, Terminator
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from launcher import search_space, study_storage, tuning_request
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.search_space import Choices, Interval
from launcher.trials import Trial

STARTUP_TRIALS = 3  # drawn at random, before there is anything to learn from
MEDIAN_TRIALS = 3  # a median of fewer says little
# What the study notes about itself and about a trial.
REQUEST, JOB, FAILURE, STOPPED, PARENT, SURPLUS = "request", "job", "failure", "stopped", "parent", "surplus"
BEGUN = "begun"  # when a trial had its place: Optuna counts from when it was asked for


class Study:
    """All that is known of one search, shared by every process that works on it."""

    def __init__(self, study: optuna.Study, request: Request, storage: RDBStorage) -> None:
        self.optuna = study
        self._storage = storage
        self._silent: dict[int, float] = {}  # trials without a sign of life, and when they were first seen
        self.request = request
        self.place = study_storage.shown(storage.engine.url)
        config = request["HyperParameterTuningJobConfig"]
        self.parallel: int = config["ResourceLimits"]["MaxParallelTrainingJobs"]
        self.maximize = tuning_request.objective(request).maximize
        self._space = search_space.entries(request)
        self._ends = config.get("TuningJobCompletionCriteria", {})
        self._limit = _limit(config, self._space)

    def values(self, trial: optuna.Trial) -> dict[str, str]:
        """Choose a trial's hyperparameters; returns them as texts."""
        config = self.request["HyperParameterTuningJobConfig"]
        if "RandomSeed" in config and config["Strategy"] != "Grid":
            # Else every process would draw the same numbers, and again after each interruption.
            self.optuna.sampler = sampler(self.request, trial.number)
        return {each.name: each.text(each.suggest(trial)) for each in self._space}

    def own(self) -> list[FrozenTrial]:
        """Return this search's trials that were started, without those that were lost and are run again."""
        everything = self.optuna.get_trials(deepcopy=False)
        lost = _lost(everything)
        return [
            each
            for each in everything
            if each.number not in lost
            and each.state != TrialState.WAITING
            and not each.user_attrs.keys() & {PARENT, SURPLUS}
        ]

    def trials(self) -> list[Trial]:
        """Return this search's trials for people, without those that wait for a place."""
        return [
            self._as_trial(each)
            for each in self.own()
            if each.state != TrialState.RUNNING or BEGUN in each.user_attrs
        ]

    def left(self) -> int:
        """Return how many trials may still be started."""
        return self._limit - len(self.own())

    def is_surplus(self, trial: optuna.Trial) -> bool:
        """Whether another process has started the last trial in the same moment."""
        return sum(each.number < trial.number for each in self.own()) >= self._limit

    def has_place(self, trial: optuna.Trial) -> bool:
        """Whether a trial may run now: a search's processes share its places, first come first served."""
        before = (each for each in self.own() if each.number < trial.number)
        return sum(each.state == TrialState.RUNNING for each in before) < self.parallel

    def discard(self, trial: optuna.Trial) -> None:
        """Note that a trial is not run and does not count."""
        trial.set_user_attr(SURPLUS, True)

    def run_again(self, trial: optuna.Trial) -> None:
        """Queue what an interrupted trial tried, so that the next process runs it.

        As Optuna does with a lost one: a grid's trial has to keep its point's number.
        """
        self.discard(trial)
        tried = self._storage.get_trial(trial._trial_id)
        self.optuna.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params=tried.params,
                distributions=tried.distributions,
                system_attrs=tried.system_attrs,
            )
        )

    def retry_lost(self) -> None:
        """Queue the trials whose process has died; every process may do so at any time."""
        with study_storage.experiments_allowed():
            optuna.storages.fail_stale_trials(self.optuna)
        run_again = self._storage.get_heartbeat_stale_trial_callback()
        for each in self._stillborn():
            try:
                mine = self._storage.set_trial_state_values(each._trial_id, TrialState.FAIL)
            except UpdateFinishedTrialError:
                mine = False  # another process was first
            if mine and run_again:
                run_again(self.optuna, copy.deepcopy(each))

    def _stillborn(self) -> list[FrozenTrial]:
        """Return the running trials whose process died before their first sign of life.

        Optuna misses them, since it looks for signs that are old. How long they are silent is measured here:
        when they began is in the time, and the time zone, of another machine.
        """
        with self._storage.engine.connect() as connection:
            alive = set(connection.scalars(text("SELECT trial_id FROM trial_heartbeats")))
        silent = [
            each for each in self.own() if each.state == TrialState.RUNNING and each._trial_id not in alive
        ]
        now = time.monotonic()
        self._silent = {each.number: self._silent.get(each.number, now) for each in silent}
        return [each for each in silent if now - self._silent[each.number] >= study_storage.LOST_SECONDS]

    def lost_jobs(self) -> set[str]:
        """Return the training jobs of the trials that were lost."""
        everything = self.optuna.get_trials(deepcopy=False)
        lost = _lost(everything)
        return {each.user_attrs[JOB] for each in everything if each.number in lost and JOB in each.user_attrs}

    def running(self) -> int:
        """Return how many trials run, here or elsewhere."""
        return sum(each.state == TrialState.RUNNING for each in self.own())

    def reason_to_end(self) -> str:
        """Say which of the request's completion criteria is met; empty while none is."""
        values = self._in_order_of_their_ends()
        target = self._ends.get("TargetObjectiveMetricValue")
        if target is not None and values and max(values) >= (target if self.maximize else -target):
            return f"a trial has reached the target, {target:g}"
        patience = self._ends.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        if patience and values and len(values) - 1 - values.index(max(values)) >= patience:
            return f"{patience} trials in a row were no better than the best before them"
        converging = self._ends.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled"
        if converging and _converged(self.optuna):
            return "little is left to be gained"
        return ""

    def _in_order_of_their_ends(self) -> list[float]:
        """Return the objectives of the trials that have one for good, the larger the better."""
        ended = [each for each in self.own() if each.datetime_complete is not None]
        ended.sort(key=lambda each: each.datetime_complete or datetime.min)
        found = [each.objective for each in map(self._as_trial, ended) if each.is_judged]
        return [value if self.maximize else -value for value in found if value is not None]

    def learn_from(self, parents: Mapping[str, Sequence[Trial]]) -> dict[str, int]:
        """Take over what earlier searches found, where it lies in this search's ranges; returns how much."""
        return {name: sum(map(partial(self._learn, name), known)) for name, known in parents.items()}

    def _learn(self, parent: str, trial: Trial) -> bool:
        known = all(each.contains(trial.values.get(each.name, "")) for each in self._space)
        if not (known and trial.is_judged):
            return False
        self.optuna.add_trial(
            optuna.create_trial(
                params={each.parameter: each.value(trial.values[each.name]) for each in self._space},
                distributions={each.parameter: each.distribution() for each in self._space},
                value=trial.objective,
                user_attrs={PARENT: parent, JOB: trial.name},
            )
        )
        return True

    def _as_trial(self, each: FrozenTrial) -> Trial:
        status = {
            TrialState.RUNNING: "InProgress", TrialState.FAIL: "Failed", TrialState.COMPLETE: "Completed",
        }.get(each.state, "Stopped")  # fmt: skip
        noted = each.user_attrs.get(BEGUN)
        begun = datetime.fromisoformat(noted) if noted else each.datetime_start or datetime.now()
        ended = each.datetime_complete or datetime.now()
        return Trial(
            name=each.user_attrs.get(JOB, f"trial {each.number + 1}"),
            status="Stopped" if STOPPED in each.user_attrs and status != "Failed" else status,  # type: ignore[arg-type]
            values={
                entry.name: entry.text(each.params[entry.parameter])
                for entry in self._space
                if entry.parameter in each.params
            },
            objective=each.value if each.state == TrialState.COMPLETE else _latest(each),
            curve=each.intermediate_values,
            seconds=(ended - begun).total_seconds(),
            failure=each.user_attrs.get(FAILURE, ""),
        )


def create(request: Request, url: str) -> Study:
    """Make the study of a new search; raises SettingsError when one of that name is there."""
    name = request["HyperParameterTuningJobName"]
    place = study_storage.parsed(url)
    with study_storage.explained(place):
        storage = study_storage.opened(place)
        try:
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                sampler=sampler(request),
                pruner=pruner(request),
                direction="maximize" if tuning_request.objective(request).maximize else "minimize",
            )
        except DuplicatedStudyError:
            raise SettingsError(
                f"there is a search {name} already: --attach {name} takes part in it, "
                "another --job-name begins a new one"
            ) from None
        study.set_user_attr(REQUEST, request)
    return Study(study, request, storage)


def attach(name: str, url: str) -> Study:
    """Open the study of a search that was begun; raises SettingsError when there is none."""
    place = study_storage.parsed(url)
    with study_storage.explained(place):
        storage = study_storage.opened(place)
        try:
            request = optuna.load_study(study_name=name, storage=storage).user_attrs[REQUEST]
        except KeyError:
            raise SettingsError(
                f"there is no search {name} in {study_storage.shown(place)}, or it was ended as it began: "
                "another --job-name begins a new one"
            ) from None
        study = optuna.load_study(
            study_name=name, storage=storage, sampler=sampler(request), pruner=pruner(request)
        )
    return Study(study, request, storage)


@contextmanager
def writing(study: Study) -> Iterator[None]:
    """Turn a failure of the study's database into a WorkFailed that says how to go on."""
    try:
        yield
    except Exception as error:
        fault = study_storage.fault(error)
        if fault is None:
            raise
        name = study.request["HyperParameterTuningJobName"]
        raise WorkFailed(
            f"the study in {study.place} cannot be written: {study_storage.first_line(fault)}\n"
            f"its trials were stopped; once that is mended, --attach {name} goes on"
        ) from None


def sampler(request: Request, trial: int | None = None) -> BaseSampler:
    """Optuna's counterpart of the request's strategy; for one trial alone, if its number is given."""
    config = request["HyperParameterTuningJobConfig"]
    seed = config.get("RandomSeed")
    if seed is not None and trial is not None:
        seed = int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
    with study_storage.experiments_allowed():
        if config["Strategy"] == "Bayesian":
            return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        if config["Strategy"] == "Grid":
            lists = {
                each.name: list(each.values)
                for each in search_space.entries(request)
                if isinstance(each, Choices)
            }
            return GridSampler(lists, seed=seed)
    return RandomSampler(seed=seed)


def pruner(request: Request) -> BasePruner:
    """Optuna's counterpart of the request's early stopping."""
    config = request["HyperParameterTuningJobConfig"]
    if config["Strategy"] == "Hyperband":
        resources = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        return HyperbandPruner(
            min_resource=resources.get("MinResource", 1), max_resource=resources.get("MaxResource", "auto")
        )
    if config.get("TrainingJobEarlyStoppingType", "Off") == "Auto":
        return MedianPruner(n_startup_trials=MEDIAN_TRIALS, n_min_trials=MEDIAN_TRIALS)
    return NopPruner()


def _lost(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of those that were lost, and are run again under other numbers."""
    return {number for each in trials for number in each.system_attrs.get("retry_history", [])}


def _latest(trial: FrozenTrial) -> float | None:
    """Return what a trial without a final value reported last."""
    return None if trial.last_step is None else trial.intermediate_values[trial.last_step]


def _converged(study: optuna.Study) -> bool:
    with study_storage.experiments_allowed():
        room = EMMREvaluator()
        return Terminator(room, MedianErrorEvaluator(room)).should_terminate(study)


def _limit(config: Mapping[str, Any], space: Sequence[Interval | Choices]) -> int:
    """Return how many trials there are at most: a grid has no more than its points."""
    most = [config["ResourceLimits"].get("MaxNumberOfTrainingJobs", math.inf)]
    if config["Strategy"] == "Grid":
        most.append(math.prod(len(each.values) for each in space if isinstance(each, Choices)))
    return int(min(most))
