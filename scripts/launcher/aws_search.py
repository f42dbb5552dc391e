"""A search on SageMaker: started, followed, stopped, and its trials read back.

Called by scripts/launch_hpo.py. The job runs there whether anybody follows it or not.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launcher import aws, prices, search_results, tuning_request, tuning_view
from launcher.errors import SettingsError
from launcher.requests import Request
from launcher.trials import Status, Trial
from trainer.metrics import EPOCH_REGEX

POLL_SECONDS = 15.0
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_ENDED = {"Completed", "Failed", "Stopped", "DeleteFailed"}
_STATUS: Mapping[str, Status] = {
    "InProgress": "InProgress", "Stopping": "InProgress", "Completed": "Completed", "Failed": "Failed",
}  # fmt: skip


class AwsSearch:
    """One tuning job of the account."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sagemaker = aws.client("sagemaker")
        self._logs = aws.client("logs")
        self._ended: dict[str, Trial] = {}  # what has ended does not change any more
        self._regex = ""
        self._price: float | None = None

    def start(self, request: Request) -> None:
        """Create the tuning job; raises SettingsError when there is one of its name."""
        with aws.explained():
            try:
                self._sagemaker.create_hyper_parameter_tuning_job(**request)
            except self._sagemaker.exceptions.ResourceInUse:
                raise SettingsError(
                    f"there is a search {self.name} already: --attach {self.name} follows it"
                ) from None

    def stop(self) -> None:
        """Stop the job and its trials; what they have found stays."""
        with aws.explained():
            self._sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)

    def request(self, say: Callable[[str], None]) -> Request:
        """Return the request that the job was made from, as far as its trials and report need it.

        Raises SettingsError when there is no such job.
        """
        description = self._describe()
        self._regex = tuning_request.objective_regex(description)
        resources = description["TrainingJobDefinition"]["ResourceConfig"]
        self._price, why = prices.known(resources["InstanceType"], self._sagemaker.meta.region_name)
        if why:
            say(f"what it costs is not shown: {why}")
        parts = ("HyperParameterTuningJobName", "HyperParameterTuningJobConfig", "TrainingJobDefinition")
        return {part: description[part] for part in (*parts, "WarmStartConfig") if description.get(part)}

    def _describe(self) -> dict[str, Any]:
        with aws.explained():
            try:
                return dict(
                    self._sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)
                )
            except self._sagemaker.exceptions.ResourceNotFound:
                raise SettingsError(f"there is no search {self.name} in this account and region") from None

    def follow(self, on_look: Callable[[], None]) -> str:
        """Wait until the job has ended, calling `on_look` now and then; returns why, unless it was done."""
        while True:
            description = self._describe()
            on_look()
            status = description["HyperParameterTuningJobStatus"]
            if status in _ENDED:
                reason = description.get("FailureReason", "")
                return "" if status == "Completed" else f"{status}: {reason}".rstrip(": ")
            time.sleep(POLL_SECONDS)

    def trials(self) -> list[Trial]:
        """Return all trials in the order in which they were started."""
        with aws.explained():
            pages = self._sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
            found = [
                summary
                for page in pages.paginate(
                    HyperParameterTuningJobName=self.name, SortBy="CreationTime", SortOrder="Ascending"
                )
                for summary in page["TrainingJobSummaries"]
            ]
            return [self._ended.get(each["TrainingJobName"]) or self._trial(each) for each in found]

    def _trial(self, summary: Mapping[str, Any]) -> Trial:
        name, status = summary["TrainingJobName"], summary["TrainingJobStatus"]
        final = summary.get("FinalHyperParameterTuningJobObjectiveMetric")
        begun = summary.get("TrainingStartTime", summary["CreationTime"])
        seconds = (summary.get("TrainingEndTime", datetime.now(UTC)) - begun).total_seconds()
        curve = self._curve(name)
        trial = Trial(
            name=name,
            status=_STATUS.get(status, "Stopped"),
            values=summary["TunedHyperParameters"],
            objective=final["Value"] if final else None,
            curve=curve,
            seconds=seconds,
            cost=self._cost(name, seconds),
            failure=summary.get("FailureReason", ""),
        )
        if status in _ENDED:
            self._ended[name] = trial
        return trial

    def _cost(self, name: str, seconds: float) -> float | None:
        """Dollars so far: by the billed time once it is known, which on spot instances is the shorter one."""
        if self._price is None:
            return None
        job = self._sagemaker.describe_training_job(TrainingJobName=name)
        hosts = job["ResourceConfig"].get("InstanceCount", 1)
        return float(self._price * hosts * job.get("BillableTimeInSeconds", seconds) / 3600)

    def _curve(self, name: str) -> dict[int, float]:
        """Return the objective by epoch, from the job's log; empty where the log has none yet."""
        curve: dict[int, float] = {}
        pages = self._logs.get_paginator("filter_log_events")
        try:
            for page in pages.paginate(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/"):
                for event in page["events"]:
                    found = re.search(self._regex, event["message"])
                    epoch = re.search(EPOCH_REGEX, event["message"])
                    if found:
                        curve[int(epoch[1]) if epoch else len(curve) + 1] = float(found[1])
        except self._logs.exceptions.ResourceNotFoundException:  # no job of the account has logged yet
            return {}
        return curve


def follow(search: AwsSearch, folder: Path, say: Callable[[str], None]) -> None:
    """Follow a search to its end and write its results; after Ctrl-C it runs on.

    Raises WorkFailed when no trial succeeded.
    """
    request = search.request(say)
    say(f"search {search.name} runs on AWS; everything is kept in {folder}")
    try:
        with tuning_view.View(request, search.trials, say) as view:
            why = search.follow(view.refresh)
    except (KeyboardInterrupt, SystemExit) as interrupt:
        interrupt.add_note(
            f"the search runs on: --attach {search.name} follows it, --stop {search.name} stops it"
        )
        raise
    if why:
        say(f"the search is over: {why}")
    search_results.conclude(folder, request, search.trials())
