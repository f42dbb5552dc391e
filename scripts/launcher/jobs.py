"""A training job on this machine: its folder under the /opt/ml contract, and what comes out of it.

Both local backends call `carry_out`; they differ only in how they start the workload.

    runs/<job name>/
    ├── input/config/      hyperparameters, channels, hosts: what the platform writes before a job
    ├── model/             the model artifact, packed as output/model.tar.gz
    ├── output/            data/ with findings.json and report/, the debugger's tensors/, and, when the job
    │                      failed, the file failure
    ├── checkpoints/       a link to the folder of the request's CheckpointConfig, if it has one
    ├── training.log
    └── algo-2/ …          input/, model/, output/ and training.log of each further host
"""

import os
import re
import secrets
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from launcher import archives, findings, layout, workloads
from launcher.errors import SettingsError, WorkFailed, WorkStopped
from launcher.requests import Request
from launcher.workloads import Log, OnLine, Workload

FAILURE_CHARACTERS = 1024  # of output/failure, as DescribeTrainingJob's FailureReason has them
# What a program writes last, below its job's folder: train_model.py the one, hpo.py the other.
RESULTS = ("model/artifact.json", "output/data/result.json")
# Tells a job how many share its machine, so that each uses its share of the processors.
PARALLEL = "TRAINER_PARALLEL_JOBS"
# A program that was stopped has done nothing wrong, unless it had no time to install its handler.
STOPPED_CODES = {0, 128 + signal.SIGTERM}

Start = Callable[[Mapping[str, Path]], AbstractContextManager[Mapping[str, Workload]]]


@dataclass(frozen=True)
class FinishedJob:
    """A job that succeeded: its folder, its model.tar.gz, and the last value of each metric in its log."""

    name: str
    folder: Path
    archive: Path
    metrics: dict[str, float]


class JobFailed(WorkFailed):
    """The training job ended with an error.

    The message begins with the job's own failure text and ends with what its rules found, and its report.
    """


class JobStopped(WorkStopped):
    """The training job was stopped before its end; the message says how to continue it."""


@dataclass(frozen=True)
class _Ending:
    """How a job ended: the host that failed first, or else the first one; no code when we stopped it."""

    host: str
    code: int | None
    log: Log
    why_stopped: str = ""


def new_name(prefix: str = "dog-breeds") -> str:
    """Return a job or endpoint name that no other has: the time and four random letters."""
    return f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def carry_out(
    request: Request,
    runs: Path,
    *,
    hosts: Sequence[str],
    start: Start,
    on_line: OnLine,
    cancel: threading.Event | None = None,
) -> FinishedJob:
    """Run a training request in `runs/<job name>` and return what came out.

    `start` is given each host's folder and starts a workload for each host; the lines of several hosts begin
    with their names. Raises SettingsError when the job's folder exists, JobFailed with the failure text of
    the host that failed first, JobStopped once `cancel` is set, after MaxRuntimeInSeconds, or after a SIGTERM
    from elsewhere.
    """
    kept = layout.checkpoint_folder(request)
    job = _new_folder(runs, request["TrainingJobName"])
    folders = {host: job if host == hosts[0] else job / host for host in hosts}
    try:
        layout.write(request, folders, kept)
    except OSError:
        shutil.rmtree(job)  # a full disk: nothing was started
        raise
    try:
        with start(folders) as running:
            ending = _follow(request, folders, running, on_line, cancel or threading.Event())
    except (KeyboardInterrupt, SystemExit) as interrupt:
        interrupt.add_note(how_to_continue(job))
        raise
    return _conclude(request, folders, ending)


def _follow(
    request: Request,
    folders: Mapping[str, Path],
    running: Mapping[str, Workload],
    on_line: OnLine,
    cancel: threading.Event,
) -> _Ending:
    """Wait for all hosts to end, or for one to fail and the others to be stopped."""
    pass_on = _by_host(list(folders), on_line)
    logs = {
        host: Log(workload.output(), pass_on[host], folders[host] / "training.log")
        for host, workload in running.items()
    }
    limit = request["StoppingCondition"]["MaxRuntimeInSeconds"]
    try:
        ended = workloads.wait(running.values(), logs.values(), seconds=limit, cancel=cancel)
    except (KeyboardInterrupt, SystemExit):
        with suppress(OSError):  # the terminal may have gone away
            on_line(f"stopping: the job has {workloads.INTERRUPT_GRACE_SECONDS} s to write a checkpoint")
        raise
    host = _decisive(running)
    code = running[host].exit_code() if ended else None
    why = "" if ended else "as asked" if cancel.is_set() else f"after its MaxRuntimeInSeconds, {limit} s"
    in_time = ended or cancel.is_set()
    grace = workloads.INTERRUPT_GRACE_SECONDS if in_time else workloads.TRAINING_GRACE_SECONDS
    workloads.stop(running.values(), grace_seconds=grace)
    for log in logs.values():
        log.finish()
    return _Ending(host, code, logs[host], why)


def _decisive(running: Mapping[str, Workload]) -> str:
    """Return the host that failed first, else the first host: the others fail because it did."""
    failed = [host for host, workload in running.items() if workload.exit_code() not in {0, None}]
    return min(failed, key=lambda host: running[host].ended_at(), default=next(iter(running)))


def _by_host(hosts: Sequence[str], on_line: OnLine) -> dict[str, OnLine]:
    """Return what takes each host's lines: with its name in front where there are several, one at a time."""
    if len(hosts) == 1:
        return {hosts[0]: on_line}
    one_at_a_time = threading.Lock()

    def named(host: str) -> OnLine:
        def pass_on(line: str) -> None:
            with one_at_a_time:
                on_line(f"{host} | {line}")

        return pass_on

    return {host: named(host) for host in hosts}


def how_to_continue(job: Path) -> str:
    """Say what to do about a job that was stopped."""
    checkpoints = (job / "checkpoints").resolve()
    if not any(checkpoints.iterdir()):
        return "it had written no checkpoint: the same command starts it again"
    return f"the same command with --checkpoints {shlex.quote(str(checkpoints))} continues it"


def _new_folder(runs: Path, name: str) -> Path:
    folder = runs.resolve() / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise SettingsError(f"{folder} exists: give the job another name, or remove the folder") from None
    except OSError as error:
        raise SettingsError(f"no folder for the job can be made at {folder}: {error.strerror}") from None
    return folder


def _conclude(request: Request, folders: Mapping[str, Path], ending: _Ending) -> FinishedJob:
    """Tell a job that is done from one that failed and one that was stopped."""
    name = request["TrainingJobName"]
    folder = next(iter(folders.values()))
    if ending.code is not None and ending.code not in STOPPED_CODES:
        where = f" on {ending.host}" if len(folders) > 1 else ""
        what = f"the training job {name} failed{where} with exit code {ending.code}"
        lines = [_failure(folders[ending.host], what, ending.log), *findings.summary(folder)]
        raise JobFailed("\n".join(lines))
    archive = folder / "output/model.tar.gz"
    whole = any((folder / result).is_file() for result in RESULTS)
    if whole:
        archives.pack(folder / "model", archive)
    if ending.code != 0 or not whole:
        lines = [_why_stopped(request, ending), how_to_continue(folder), f"its files: {folder}"]
        raise JobStopped("\n".join([*lines, *findings.summary(folder)]))
    definitions = request["AlgorithmSpecification"]["MetricDefinitions"]
    text = (folder / "training.log").read_text(encoding="utf-8")
    return FinishedJob(name, folder, archive, final_metrics(text, definitions))


def _why_stopped(request: Request, ending: _Ending) -> str:
    what = f"the training job {request['TrainingJobName']}"
    if ending.why_stopped:
        return f"{what} was stopped {ending.why_stopped}"
    return f"{what} was stopped before it had a result: it ended without a fault, and without {RESULTS[0]}"


def _failure(folder: Path, what: str, log: Log) -> str:
    """Put the job's own words first: its failure file, or else the last lines of its log."""
    failure = folder / "output/failure"
    reason = failure.read_text(encoding="utf-8", errors="replace").strip() if failure.is_file() else ""
    reason = reason[:FAILURE_CHARACTERS] or "\n".join(log.last_lines)
    return f"{reason}\n{what}\nits whole log: {folder / 'training.log'}"


def final_metrics(log: str, definitions: Iterable[Mapping[str, str]]) -> dict[str, float]:
    """Return each metric's last value in a log, found with the request's own regular expressions."""
    metrics = {}
    for definition in definitions:
        for found in re.finditer(definition["Regex"], log):
            with suppress(IndexError, TypeError, ValueError):  # what it has found is no number
                metrics[definition["Name"]] = float(found[1])
    return metrics


def point_latest(job: FinishedJob) -> Path:
    """Make `latest` beside the job's folder lead to it, in one step, and return that link."""
    link = job.folder.parent / "latest"
    fresh = job.folder.parent / f".latest-{job.name}"
    fresh.symlink_to(job.name)
    if link.exists() and not link.is_symlink():
        fresh.unlink()
        raise SettingsError(f"{link} is not a link to a job: move it away")
    os.replace(fresh, link)  # noqa: PTH105 - Path.replace reads as if the job's folder were moved
    return link
