"""A training job on this machine: its folder under the /opt/ml contract, and what comes out of it.

Both local backends call `carry_out`; they differ only in how they start the workload.

    runs/<job name>/
    ├── input/config/      hyperparameters, channels, hosts: what the platform writes before a job
    ├── model/             the model artifact, packed as output/model.tar.gz
    ├── output/            data/ and, when the job failed, the file failure
    ├── checkpoints/
    └── training.log
"""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from launcher import archives, requests, workloads
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.workloads import Log, OnLine, Workload

FAILURE_CHARACTERS = 1024  # of output/failure, as DescribeTrainingJob's FailureReason has them


@dataclass(frozen=True)
class FinishedJob:
    """A job that succeeded: its folder, its model.tar.gz, and the last value of each metric in its log."""

    name: str
    folder: Path
    archive: Path
    metrics: dict[str, float]


class JobFailed(WorkFailed):
    """The training job ended with an error; the message begins with its own failure text."""


class JobStopped(WorkFailed):
    """The training job ran longer than its StoppingCondition allows."""


def new_name(prefix: str = "dog-breeds") -> str:
    """Return a job or endpoint name that no other has: the time and four random letters."""
    return f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def carry_out(
    request: Request,
    runs: Path,
    *,
    host: str,
    start: Callable[[Path], AbstractContextManager[Workload]],
    on_line: OnLine,
) -> FinishedJob:
    """Run a training request in `runs/<job name>` and return what came out.

    `start` is given the job's folder and starts the workload. Raises SettingsError when the folder exists,
    JobFailed with the job's failure text, JobStopped after MaxRuntimeInSeconds.
    """
    folder = _new_folder(runs, request["TrainingJobName"])
    try:
        _lay_out(request, folder, host)
    except OSError:
        shutil.rmtree(folder)  # a full disk: nothing was started
        raise
    limit = request["StoppingCondition"]["MaxRuntimeInSeconds"]
    with start(folder) as workload:
        log = Log(workload.output(), on_line, folder / "training.log")
        code = workloads.wait(workload, log, seconds=limit)
        if code is None:
            workload.stop(workloads.TRAINING_GRACE_SECONDS)
        log.finish()
    return _conclude(request, folder, code, log)


def channels(request: Request) -> dict[str, Path]:
    """Return the folder of each input channel; SettingsError when one is not a folder on this machine."""
    folders = {}
    for channel in request.get("InputDataConfig", []):
        folder = requests.local_path(channel["DataSource"]["S3DataSource"]["S3Uri"])
        if not folder.is_dir():
            raise SettingsError(f"the channel {channel['ChannelName']!r} has no folder {folder}")
        folders[channel["ChannelName"]] = folder
    return folders


def _new_folder(runs: Path, name: str) -> Path:
    folder = runs.resolve() / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise SettingsError(f"{folder} exists: give the job another name, or remove the folder") from None
    except OSError as error:
        raise SettingsError(f"no folder for the job can be made at {folder}: {error.strerror}") from None
    return folder


def _lay_out(request: Request, folder: Path, host: str) -> None:
    """Make the folders, and write the three files that the platform puts into /opt/ml/input/config.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    """
    for part in ("input/config", "model", "output/data", "checkpoints"):
        (folder / part).mkdir(parents=True)
    group = {"instance_group_name": "homogeneousCluster", "instance_type": "local", "hosts": [host]}
    configs: dict[str, object] = {
        "hyperparameters": request["HyperParameters"],
        "inputdataconfig": {
            channel["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": channel["DataSource"]["S3DataSource"]["S3DataDistributionType"],
                "RecordWrapperType": "None",
            }
            for channel in request.get("InputDataConfig", [])
        },
        "resourceconfig": {
            "current_host": host,
            "hosts": [host],
            "current_instance_type": "local",
            "current_group_name": "homogeneousCluster",
            "instance_groups": [group],
            "network_interface_name": "eth0",
        },
    }
    for name, content in configs.items():
        (folder / "input/config" / f"{name}.json").write_text(json.dumps(content, indent=1))


def _conclude(request: Request, folder: Path, code: int | None, log: Log) -> FinishedJob:
    name = request["TrainingJobName"]
    if code not in {0, None}:
        raise JobFailed(_failure(folder, f"the training job {name} failed with exit code {code}", log))
    archive = folder / "output/model.tar.gz"
    if any((folder / "model").iterdir()):
        archives.pack(folder / "model", archive)
    if code is None:
        limit = request["StoppingCondition"]["MaxRuntimeInSeconds"]
        what = f"the training job {name} was stopped after its MaxRuntimeInSeconds, {limit} s"
        raise JobStopped(f"{what}\nwhat it had written is in {folder}")
    if not archive.exists():
        raise JobFailed(_failure(folder, f"the training job {name} ended well but left no model", log))
    definitions = request["AlgorithmSpecification"]["MetricDefinitions"]
    text = (folder / "training.log").read_text(encoding="utf-8")
    return FinishedJob(name, folder, archive, final_metrics(text, definitions))


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
        if values := re.findall(definition["Regex"], log):
            metrics[definition["Name"]] = float(values[-1])
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
