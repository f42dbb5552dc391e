"""The memory of a search: an Optuna study in SQLite, or in a database that several machines share.

Opened by scripts/launch_hpo.py, filled by `tuner`. It holds the request too, so that another process, or
another machine, takes part with no more than its name.
"""

import copy
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, GridSampler, RandomSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.terminator import MedianErrorEvaluator, RegretBoundEvaluator, Terminator
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from launcher import search_space
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.search_space import Choices, Interval
from launcher.trials import Trial

FILE = "study.db"
# A trial whose process says nothing for so long is lost, and is run again.
HEARTBEAT_SECONDS, LOST_SECONDS = 5, 30
DRIVERS = (
    "postgresql+psycopg",
    "mysql+pymysql",
)  # of the group `tune`; others serve where they are installed
CONNECT_SECONDS = 10  # a host that does not answer is given up; drivers wait for minutes, or for ever
# A server in local time would make every heartbeat an hour older when summer begins.
TIME_IN_UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}
STARTUP_TRIALS = 3  # drawn at random, before there is anything to learn from
MEDIAN_TRIALS = 3  # a median of fewer says little
# What the study notes about itself and about a trial.
REQUEST, JOB, FAILURE, STOPPED, PARENT, SURPLUS = "request", "job", "failure", "stopped", "parent", "surplus"
BEGUN = "begun"  # when a trial had its place: Optuna counts from when it was asked for


def in_folder(folder: Path) -> str:
    """Return the storage URL of a search that keeps its study in its own folder."""
    return f"sqlite:///{(folder / FILE).resolve()}"


class Study:
    """All that is known of one search, shared by every process that works on it."""

    def __init__(self, study: optuna.Study, request: Request, storage: RDBStorage) -> None:
        self.optuna = study
        self._storage = storage
        self._silent: dict[int, float] = {}  # trials without a sign of life, and when they were first seen
        self.request = request
        self.place = _shown(storage.engine.url)
        config = request["HyperParameterTuningJobConfig"]
        self.parallel: int = config["ResourceLimits"]["MaxParallelTrainingJobs"]
        self.maximize = config["HyperParameterTuningJobObjective"]["Type"] == "Maximize"
        self._space = search_space.entries(request)
        self._ends = config.get("TuningJobCompletionCriteria", {})
        self._limit = config["ResourceLimits"].get("MaxNumberOfTrainingJobs") or _combinations(self._space)

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
        """Queue what an interrupted trial tried, so that the next process runs it."""
        self.discard(trial)
        params = trial.params
        self.optuna.enqueue_trial(params)

    def retry_lost(self) -> None:
        """Queue the trials whose process has died; every process may do so at any time."""
        with _experiments_allowed():
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
        return [each for each in silent if now - self._silent[each.number] >= LOST_SECONDS]

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
        values = [each.objective for each in self.trials() if each.objective is not None]
        values = [value if self.maximize else -value for value in values]
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

    def learn_from(self, parents: Mapping[str, Sequence[Trial]]) -> dict[str, int]:
        """Take over what earlier searches found, where it lies in this search's ranges; returns how much."""
        taken = dict.fromkeys(parents, 0)
        distributions: dict[str, BaseDistribution] = {
            each.parameter: each.distribution() for each in self._space
        }
        for name, trials in parents.items():
            for trial in trials:
                known = all(each.contains(trial.values.get(each.name, "")) for each in self._space)
                if known and trial.objective is not None:
                    params = {each.parameter: each.value(trial.values[each.name]) for each in self._space}
                    self.optuna.add_trial(
                        optuna.create_trial(
                            params=params,
                            distributions=distributions,
                            value=trial.objective,
                            user_attrs={PARENT: name, JOB: trial.name},
                        )
                    )
                    taken[name] += 1
        return taken

    def _as_trial(self, each: FrozenTrial) -> Trial:
        status = {
            TrialState.RUNNING: "InProgress", TrialState.FAIL: "Failed", TrialState.COMPLETE: "Completed",
        }.get(each.state, "Stopped")  # fmt: skip
        noted = each.user_attrs.get(BEGUN)
        begun = datetime.fromisoformat(noted) if noted else each.datetime_start or datetime.now()
        ended = each.datetime_complete or datetime.now()
        return Trial(
            name=each.user_attrs.get(JOB, f"trial {each.number + 1}"),
            status="Stopped" if STOPPED in each.user_attrs else status,  # type: ignore[arg-type]
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
    direction = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"].lower()
    place = _parsed(url)
    with _explained(place):
        storage = _storage(place)
        try:
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                sampler=sampler(request),
                pruner=pruner(request),
                direction=direction,
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
    place = _parsed(url)
    with _explained(place):
        storage = _storage(place)
        try:
            request = optuna.load_study(study_name=name, storage=storage).user_attrs[REQUEST]
        except KeyError:
            raise SettingsError(f"there is no search {name} in {_shown(place)}") from None
        study = optuna.load_study(
            study_name=name, storage=storage, sampler=sampler(request), pruner=pruner(request)
        )
    return Study(study, request, storage)


def _parsed(url: str) -> URL:
    """Read a storage URL, and bound how long connecting may take; raises SettingsError, without the URL."""
    try:
        place = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise SettingsError(
            "the storage URL cannot be read: it is such as postgresql+psycopg://user:password@host/database, "
            "where @, : and / of a password are written %40, %3A and %2F"
        ) from None
    if place.drivername in DRIVERS and "connect_timeout" not in place.query:
        return place.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    return place


def _storage(url: URL) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # the table and our own messages say all of it
    with _experiments_allowed():
        storage = RDBStorage(
            url.render_as_string(hide_password=False),
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=LOST_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
    if storage.engine.dialect.name == "sqlite":
        _take_turns(storage.engine)
    elif storage.engine.dialect.name in TIME_IN_UTC:
        _tell_the_time_in_utc(storage.engine)
    return storage


def _take_turns(engine: Engine) -> None:
    """Make a transaction hold SQLite from its beginning.

    Optuna reads which trial is next and then takes it; for SQLite, which knows no row locks, two tuners would
    read the same. https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-transaction-behavior
    """

    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    engine.dispose()  # connections from before


def _tell_the_time_in_utc(engine: Engine) -> None:
    statement = TIME_IN_UTC[engine.dialect.name]

    def connect(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()

    event.listen(engine, "connect", connect)
    engine.dispose()  # connections from before


@contextmanager
def _experiments_allowed() -> Iterator[None]:
    """Use what Optuna calls experimental; its version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    """Turn what a database or its driver refuses into a SettingsError.

    A TypeError is a driver's answer to an option that it does not know, a RuntimeError Optuna's to the tables
    of another version.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError, TypeError, RuntimeError) as error:
        what = f"the study in {_shown(url)} cannot be opened: {_first_line(error)}"
        raise SettingsError(what + _advice(url, error)) from None


def _advice(url: URL, error: Exception) -> str:
    if isinstance(error, ImportError | NoSuchModuleError):
        return f"; {DRIVERS[0]}:// and {DRIVERS[1]}:// have their drivers here (make setup-hpo)"
    if url.get_backend_name() == "sqlite":
        return ""
    return "; is the server running, and are user, password and database of the URL right?"


@contextmanager
def writing(study: Study) -> Iterator[None]:
    """Turn a failure of the study's database into a WorkFailed that says how to go on."""
    try:
        yield
    except Exception as error:
        fault = _database_fault(error)
        if fault is None:
            raise
        name = study.request["HyperParameterTuningJobName"]
        raise WorkFailed(
            f"the study in {study.place} cannot be written: {_first_line(fault)}\n"
            f"its trials were stopped; once that is mended, --attach {name} goes on"
        ) from None


def _database_fault(error: BaseException | None) -> BaseException | None:
    """Return what the database said, if that was at the root: Optuna's clean-up may fail because of it."""
    while error is not None and not isinstance(error, SQLAlchemyError | StorageInternalError):
        error = error.__cause__ or error.__context__
    return error


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    said = getattr(cause, "orig", None) or cause
    return str(said.args[-1] if said.args else said).partition("\n")[0]  # MySQL's have a number in front


def _shown(url: URL) -> str:
    """Return a URL for people: without the password, which may be among its options too."""
    return url.set(query={}).render_as_string(hide_password=True)


def sampler(request: Request, trial: int | None = None) -> BaseSampler:
    """Optuna's counterpart of the request's strategy; for one trial alone, if its number is given."""
    config = request["HyperParameterTuningJobConfig"]
    seed = config.get("RandomSeed")
    if seed is not None and trial is not None:
        seed = int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
    with _experiments_allowed():
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
        return MedianPruner(n_startup_trials=MEDIAN_TRIALS)
    return NopPruner()


def _lost(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of those that were lost, and are run again under other numbers."""
    return {number for each in trials for number in each.system_attrs.get("retry_history", [])}


def _latest(trial: FrozenTrial) -> float | None:
    """Return what a trial without a final value reported last."""
    return None if trial.last_step is None else trial.intermediate_values[trial.last_step]


def _converged(study: optuna.Study) -> bool:
    with _experiments_allowed():
        room = RegretBoundEvaluator()
        return Terminator(room, MedianErrorEvaluator(room)).should_terminate(study)


def _combinations(space: Sequence[Interval | Choices]) -> int:
    return math.prod(len(each.values) for each in space if isinstance(each, Choices))
