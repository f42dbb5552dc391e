"""A search on SageMaker: started, followed, stopped, and its trials read back.

Called by `searching`. The job runs there whether anybody follows it or not.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from launcher import aws, aws_job, prices, search_results, tuning_request, tuning_view
from launcher.account import Account
from launcher.aws_curves import Curves
from launcher.aws_job import ENDED, AwsJob
from launcher.errors import SettingsError
from launcher.requests import Request
from launcher.trials import Status, Trial

POLL_SECONDS = 15.0
_STATUS: Mapping[str, Status] = {
    "InProgress": "InProgress", "Stopping": "InProgress", "Completed": "Completed", "Failed": "Failed",
}  # fmt: skip


class AwsSearch(AwsJob):
    """One tuning job of the account."""

    def __init__(self, name: str, account: Account, say: Callable[[str], None]) -> None:
        super().__init__(aws_job.SEARCH, name, account)
        self._say = say
        self._ended: dict[str, Trial] = {}  # what has ended does not change any more

    @cached_property
    def request(self) -> Request:
        """The request that the job was made from, as far as its trials and report need it.

        Raises SettingsError when there is no such job, or one of another kind.
        """
        description = self.describe()
        if "TrainingJobDefinition" not in description:
            raise SettingsError(f"the search {self.name} has several training jobs' definitions, not one")
        parts = ("HyperParameterTuningJobName", "HyperParameterTuningJobConfig", "TrainingJobDefinition")
        request = {part: description[part] for part in (*parts, "WarmStartConfig") if description.get(part)}
        definition = request["TrainingJobDefinition"]
        static = definition.get("StaticHyperParameters", {})
        # What the platform adds for itself begins with an underscore; the trainer would not take it.
        own = {name: value for name, value in static.items() if not name.startswith("_")}
        return request | {"TrainingJobDefinition": definition | {"StaticHyperParameters": own}}

    @cached_property
    def _price(self) -> float | None:
        resources = self.request["TrainingJobDefinition"]["ResourceConfig"]
        price, why = prices.known(resources["InstanceType"], self.account.region)
        if why:
            self._say(f"what it costs is not shown: {why}")
        return price

    @cached_property
    def _curves(self) -> Curves:
        return Curves(tuning_request.objective_regex(self.request), self.account.client("logs"), self._say)

    def follow(self, on_look: Callable[[], None]) -> str:
        """Wait until the job has ended, calling `on_look` now and then; returns why, unless it was done."""
        while True:
            description = self.describe()
            on_look()
            status = self.status(description)
            if status in ENDED:
                reason = description.get("FailureReason", "")
                return "" if status == "Completed" else f"{status}: {reason}".rstrip(": ")
            time.sleep(POLL_SECONDS)

    def trials(self) -> list[Trial]:
        """Return all trials in the order in which they were started."""
        with aws.explained():
            pages = self.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
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
        trial = Trial(
            name=name,
            status=_STATUS.get(status, "Stopped"),
            values=summary["TunedHyperParameters"],
            objective=final["Value"] if final else None,
            curve=self._curves.of(name),
            seconds=seconds,
            cost=self._cost(name, seconds),
            failure=summary.get("FailureReason", ""),
        )
        if status in ENDED:
            self._ended[name] = trial
        return trial

    def _cost(self, name: str, seconds: float) -> float | None:
        """Dollars so far: by the billed time once it is known, which on spot instances is the shorter one."""
        if self._price is None:
            return None
        job = self.sagemaker.describe_training_job(TrainingJobName=name)
        hosts = job["ResourceConfig"].get("InstanceCount", 1)
        return float(self._price * hosts * job.get("BillableTimeInSeconds", seconds) / 3600)


def follow(search: AwsSearch, folder: Path, say: Callable[[str], None]) -> None:
    """Follow a search to its end and write its results; whatever ends the following, it runs on.

    Raises WorkFailed when no trial succeeded, and as AWS refuses or cannot be reached.
    """
    say(f"search {search.name} runs on AWS; everything is kept in {folder}")
    with search.mentioned():
        with tuning_view.View(search.request, search.trials, say) as view:
            why = search.follow(view.refresh)
        found = search.trials()
    if why:
        say(f"the search is over: {why}")
    search_results.conclude(folder, search.request, found)
