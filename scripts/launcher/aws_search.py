"""A search on SageMaker: started, followed, stopped, and its trials read back.

Called by scripts/launch_hpo.py. The job runs there whether anybody follows it or not.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from launcher import aws, prices, search_results, tuning_request, tuning_view
from launcher.aws_curves import Curves
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.trials import Status, Trial

POLL_SECONDS = 15.0
_ENDED = {"Completed", "Failed", "Stopped", "DeleteFailed"}
_STATUS: Mapping[str, Status] = {
    "InProgress": "InProgress", "Stopping": "InProgress", "Completed": "Completed", "Failed": "Failed",
}  # fmt: skip


class AwsSearch:
    """One tuning job of the account."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name = name
        self._say = say
        self._sagemaker = aws.client("sagemaker")
        self._ended: dict[str, Trial] = {}  # what has ended does not change any more

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
        self._ask(self._sagemaker.stop_hyper_parameter_tuning_job)

    @cached_property
    def request(self) -> Request:
        """The request that the job was made from, as far as its trials and report need it.

        Raises SettingsError when there is no such job, or one of another kind.
        """
        description = self._describe()
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
        price, why = prices.known(resources["InstanceType"], self._sagemaker.meta.region_name)
        if why:
            self._say(f"what it costs is not shown: {why}")
        return price

    @cached_property
    def _curves(self) -> Curves:
        return Curves(tuning_request.objective_regex(self.request), self._say)

    def _describe(self) -> dict[str, Any]:
        return self._ask(self._sagemaker.describe_hyper_parameter_tuning_job)

    def _ask(self, about: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        """Call an operation that concerns this job alone; raises SettingsError when there is none."""
        with aws.explained():
            try:
                return about(HyperParameterTuningJobName=self.name)
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


def follow(search: AwsSearch, folder: Path, say: Callable[[str], None]) -> None:
    """Follow a search to its end and write its results; whatever ends the following, it runs on.

    Raises WorkFailed when no trial succeeded, and as AWS refuses or cannot be reached.
    """
    say(f"search {search.name} runs on AWS; everything is kept in {folder}")
    try:
        with tuning_view.View(search.request, search.trials, say) as view:
            why = search.follow(view.refresh)
        found = search.trials()
    except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
        ending.add_note(
            f"the search runs on: --attach {search.name} follows it, --stop {search.name} stops it"
        )
        raise
    if why:
        say(f"the search is over: {why}")
    search_results.conclude(folder, search.request, found)
