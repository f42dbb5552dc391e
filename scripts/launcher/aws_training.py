"""A training job on SageMaker: started, followed to its end, stopped, and what came out of it.

Called by `training`. The job runs there whether anybody follows it or not.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launcher import aws_errors, aws_job, aws_log, charges, costs, prices, waiting
from launcher.account import Account
from launcher.aws_job import ENDED, AwsJob
from launcher.aws_log import Tail
from launcher.jobs import JobFailed, JobStopped
from launcher.requests import Request
from launcher.trained import Trained
from launcher.training_view import View

LOG_SECONDS = 5.0  # between looks, and what a log is behind at most when its job has ended
# What SageMaker says when there is no machine, or no time, left for a job, and what helps.
_REMEDIES = {
    "capacity": "no such machine is free now: --no-spot, another --instance-type, more subnets, or later",
    "MaxWaitTimeExceeded": "no spare machine was left to it for long enough: --no-spot, or more --max-wait",
    "MaxRuntimeExceeded": "it needs longer than its limit: --max-runtime",
}

Say = Callable[[str], None]


class AwsTraining(AwsJob):
    """One training job of the account."""

    def __init__(self, name: str, account: Account, say: Say) -> None:
        super().__init__(aws_job.TRAINING, name, account)
        self._say = say
        self._log = Tail(aws_log.TRAINING, f"{name}/", account.client("logs"))

    def follow(self, view: View) -> dict[str, Any]:
        """Show what happens until the job has ended; returns how it is then."""
        for _ in waiting.looks(LOG_SECONDS):
            description = self.describe()
            view.show(description, self._lines(description))
            if self.status(description) in ENDED:
                break
        time.sleep(LOG_SECONDS)
        view.show(description, self._lines(description))
        return description

    def _lines(self, description: Mapping[str, Any]) -> Sequence[str]:
        """Return the new lines of its log, those of several hosts with their names in front."""
        found = self._log.lines(self._say)
        if description["ResourceConfig"].get("InstanceCount", 1) == 1:
            return [line for _, line in found]
        hosts = (stream.removeprefix(f"{self.name}/").rpartition("-")[0] for stream, _ in found)
        return [f"{host} | {line}" for host, (_, line) in zip(hosts, found, strict=True)]

    def hourly_price(self, description: Mapping[str, Any]) -> float | None:
        """Return what all its machines cost an hour, on demand; None where that is not known."""
        resources = description["ResourceConfig"]
        price, _ = prices.known(resources["InstanceType"], self.account.region)
        return None if price is None else price * resources.get("InstanceCount", 1)


def run(job: AwsTraining, say: Say, request: Request | None = None) -> Trained:
    """Start a job, or find one that runs, and follow it until it is done.

    Whatever ends this, the job runs on, and that is said. Raises JobFailed with SageMaker's FailureReason
    first, JobStopped, and as AWS refuses or cannot be reached.
    """
    with job.mentioned():
        if request is not None:
            job.start(request)
        hourly = job.hourly_price(job.describe())
        job.hourly = f", at {costs.money(hourly)} an hour at most" if hourly else ""
        say(f"{job.name} runs on AWS{job.hourly}")
        with View(say, hourly) as view:
            description = job.follow(view)
    return _conclude(job, description, view)


def _conclude(job: AwsTraining, description: Mapping[str, Any], view: View) -> Trained:
    """Tell a job that is done from one that failed and one that was stopped."""
    status, place = job.status(description), _place(job, description)
    lines = _what_is_left(job, description, place)
    if status == "Failed":
        reason = description.get("FailureReason", "SageMaker gives no reason")
        last = ["the last lines of its log:", *view.last_lines] if view.last_lines else []
        head = [reason, *_remedies(reason), f"the training job {job.name} failed"]
        raise JobFailed("\n".join([*head, *last, *lines]))
    if status == "Stopped":
        why = description.get("SecondaryStatus", status)
        head = [f"the training job {job.name} was stopped ({why})", *_remedies(why)]
        raise JobStopped("\n".join([*head, *_how_to_continue(description), *lines]))
    metrics = _final_metrics(description) | view.metrics
    return Trained(job.name, place, description["ModelArtifacts"]["S3ModelArtifacts"], metrics, lines)


def _remedies(reason: str) -> list[str]:
    own = [remedy for word, remedy in _REMEDIES.items() if word.lower() in reason.lower()]
    return own or [each for each in [aws_errors.advice(reason)] if each]


def _how_to_continue(description: Mapping[str, Any]) -> list[str]:
    kept = description.get("CheckpointConfig", {}).get("S3Uri")
    return [f"the same command with --checkpoints {kept} continues it"] if kept else []


def _final_metrics(description: Mapping[str, Any]) -> dict[str, float]:
    """Return what SageMaker has found in the log; the log itself knows more digits."""
    return {each["MetricName"]: each["Value"] for each in description.get("FinalMetricDataList", [])}


def _place(job: AwsTraining, description: Mapping[str, Any]) -> str:
    """Return the prefix of what it leaves."""
    return f"{description['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}"


def _what_is_left(job: AwsTraining, description: Mapping[str, Any], place: str) -> list[str]:
    """Say what it has cost, and how its findings and its report are made of what it left in S3."""
    spent = charges.spent(description, job.account.region)
    return [
        *([f"charged: {spent}"] if spent else []),
        f"findings and report: python scripts/analyze_debug.py {place}",
    ]
