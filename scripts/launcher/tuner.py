"""Carries a CreateHyperParameterTuningJob request out on this machine: Optuna chooses, a backend trains.

Each trial is a training job like any other, in a folder of its own below the search's; what it reports is
read from its log with the request's own regular expressions. Several tuners may work on one study.
"""

import math
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import optuna
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from launcher import trials, tuning_request
from launcher.backends import Backend
from launcher.errors import WorkFailed
from launcher.jobs import JobStopped
from launcher.study import BEGUN, FAILURE, JOB, STOPPED, Study, writing

LOOK_SECONDS = 0.5  # between two looks at the study


class _Discarded(Exception):  # noqa: N818 - nothing went wrong
    """This trial is not to be run, or is to be run again: it does not count."""


class Tuner:
    """One process's part of a search."""

    def __init__(self, study: Study, backend: Backend, folder: Path) -> None:
        config = study.request["HyperParameterTuningJobConfig"]
        self._study = study
        self._backend = backend
        self._folder = folder
        self._seconds: float = config["ResourceLimits"].get("MaxRuntimeInSeconds", math.inf)
        self._why_ended = ""
        self._interrupted = False  # by a person, or by a fault that is no trial's own: what ran is run again
        self._fault: BaseException | None = None
        self._choosing = threading.Lock()
        self._cleared: set[str] = set()
        self._stops: set[threading.Event] = set()  # of the running trials

    def run(self, on_look: Callable[[], None]) -> str:
        """Run trials until the search is over; returns why it ended early, or nothing.

        `on_look` is called twice a second meanwhile. Ctrl-C, and any other exception, stops the running
        trials first. Raises WorkFailed when the study cannot be written, SettingsError when no trial can be
        started.
        """
        deadline = time.monotonic() + self._seconds
        with writing(self._study):
            self._end_if_met()
            while not self._why_ended and (self._study.left() > 0 or self._study.running()):
                self._take_over()
                if self._study.left() > 0:
                    self._run_trials(deadline, on_look)
                else:  # other machines are still at it, or have died
                    self._watch(deadline)
                    on_look()
                    time.sleep(LOOK_SECONDS)
        return self._why_ended

    def _take_over(self) -> None:
        """Queue the trials of tuners that have died, and end what they have left running here."""
        self._study.retry_lost()
        for job in self._study.lost_jobs() - self._cleared:
            self._backend.clear(job)
            self._cleared.add(job)

    def _run_trials(self, deadline: float, on_look: Callable[[], None]) -> None:
        """Let Optuna run trials in a thread of its own, while this one can be interrupted."""
        done = threading.Event()  # Thread.join, interrupted, takes a thread that runs for one that has ended
        threading.Thread(target=self._optimize, args=(done,), name="trials").start()
        try:
            while not done.wait(LOOK_SECONDS):
                self._watch(deadline)
                on_look()
        except BaseException:
            self._interrupted = True
            self._end("interrupted")
            while not done.is_set():
                with suppress(KeyboardInterrupt, SystemExit):  # again, while the trials write checkpoints
                    done.wait()
            raise
        if self._fault:
            raise self._fault

    def _optimize(self, done: threading.Event) -> None:
        # As many threads as places, even for the last trial: a lost one may be queued meanwhile.
        try:
            self._study.optuna.optimize(
                self._trial,
                n_jobs=self._study.parallel,
                catch=(WorkFailed, _Discarded),
                callbacks=[self._after_trial],
            )
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            if not _is_of_a_trial_taken_over(error):
                self._fault = self._fault or error
        finally:
            done.set()

    def _watch(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            self._end(f"its MaxRuntimeInSeconds, {self._seconds:.0f} s, are over")

    def _end(self, why: str) -> None:
        """Start no more trials, and stop those that run."""
        self._why_ended = self._why_ended or why
        for stop in list(self._stops):
            stop.set()

    def _after_trial(self, study: optuna.Study, _: FrozenTrial) -> None:
        """Decide whether there is another one."""
        self._end_if_met()
        if self._why_ended or self._study.left() <= 0:
            study.stop()

    def _end_if_met(self) -> None:
        if why := self._study.reason_to_end():
            self._end(why)

    def _trial(self, trial: optuna.Trial) -> float:
        """Run one trial and return its objective; any error but a failed job ends the whole search."""
        stop = threading.Event()
        self._stops.add(stop)
        try:
            if self._why_ended or self._study.is_surplus(trial):
                self._study.discard(trial)
                raise _Discarded
            self._wait_for_a_place(trial, stop)
            return self._run_job(trial, stop)
        except (WorkFailed, TrialPruned, _Discarded):
            raise
        except UpdateFinishedTrialError:  # see _is_of_a_trial_taken_over
            raise _Discarded from None
        except BaseException as error:
            self._fault = self._fault or error  # Optuna passes on what some of its threads raise, not of all
            self._interrupted = True
            self._end("a trial could not be started or followed")
            with writing(self._study):
                self._study.run_again(trial)
            raise
        finally:
            self._stops.discard(stop)

    def _wait_for_a_place(self, trial: optuna.Trial, stop: threading.Event) -> None:
        """Wait until as few trials run, here and on other machines, that this one may; or until the end."""
        if self._study.has_place(trial):
            return
        while not (stop.wait(LOOK_SECONDS) or self._study.has_place(trial)):
            self._take_over()
        self._end_if_met()  # by a trial on another machine
        if not self._why_ended:
            return
        if self._interrupted:
            self._choose(trial)  # else a grid would miss what this trial was for
            self._study.run_again(trial)
        else:
            self._study.discard(trial)
        raise _Discarded

    def _choose(self, trial: optuna.Trial) -> dict[str, str]:
        with self._choosing:  # else two that begin together know nothing of each other, and are the same
            return self._study.values(trial)

    def _run_job(self, trial: optuna.Trial, stop: threading.Event) -> float:
        search = self._study.request["HyperParameterTuningJobName"]
        name = f"{search}-{trial.number + 1:03d}-{secrets.token_hex(4)}"
        trial.set_user_attr(JOB, name)
        trial.set_user_attr(BEGUN, datetime.now().isoformat())
        values = self._choose(trial)
        request = tuning_request.trial(self._study.request, name, values)
        reports = _Reports(trial, tuning_request.objective_regex(self._study.request), stop)
        try:
            self._backend.train(
                request, self._folder, reports.read, cancel=stop, parallel=self._study.parallel
            )
        except JobStopped:
            if self._interrupted:
                self._study.run_again(trial)
                raise _Discarded from None
            trial.set_user_attr(STOPPED, True)
            if reports.latest is None:
                raise TrialPruned from None
        except WorkFailed as error:
            trial.set_user_attr(FAILURE, str(error))
            raise
        return self._judged(trial, reports)

    def _judged(self, trial: optuna.Trial, reports: "_Reports") -> float:
        """Return what the trial reported last; raises WorkFailed, and notes it, where that is no number."""
        if reports.latest is not None and not math.isnan(reports.latest):
            return reports.latest
        failure = "its objective is NaN"
        if reports.latest is None:
            failure = f"it reported no objective: no number in its log is found with {reports.regex!r}"
        trial.set_user_attr(FAILURE, failure)
        raise WorkFailed(failure)


def _is_of_a_trial_taken_over(error: BaseException | None) -> bool:
    """Whether Optuna complains of a trial that others took for lost: this machine slept, or was cut off.

    Where such a trial has ended well, an assertion of Optuna's own hides the complaint.
    """
    while error is not None and not str(error).startswith("Cannot tell a"):
        error = error.__context__
    return error is not None


class _Reports:
    """What a running trial reports, line by line, and when that is reason to stop it."""

    def __init__(self, trial: optuna.Trial, regex: str, stop: threading.Event) -> None:
        self.regex = regex
        self.latest: float | None = None
        self._trial = trial
        self._stop = stop
        self._epochs: set[int] = set()

    def read(self, line: str) -> None:
        """Take a line of its log."""
        found = trials.reported(self.regex, line)
        if found is None:
            return
        self.latest, named = found
        epoch = named or len(self._epochs) + 1
        if epoch in self._epochs:  # the figures of the epoch that was kept, once more at the end
            return
        self._epochs.add(epoch)
        self._trial.report(self.latest, epoch)
        if self._trial.should_prune():
            self._stop.set()
