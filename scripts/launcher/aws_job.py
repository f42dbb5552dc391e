"""A job on SageMaker, of whatever kind: started, described, stopped, and never left running unmentioned.

Called by `aws_training`, `aws_model_job` and `aws_search`. A job runs there whether it is followed or not.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from launcher import aws, tagged
from launcher.account import Account
from launcher.aws_errors import NoAnswer
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request

ENDED = {"Completed", "Failed", "Stopped", "DeleteFailed"}


@dataclass(frozen=True)
class Kind:
    """A kind of job: as people call it, and as boto3 and the API do."""

    word: str
    noun: str
    api: str

    @property
    def log_group(self) -> str:
        """Where all jobs of the kind log; the names of their streams begin with the job's."""
        return f"/aws/sagemaker/{self.api}s"

    def named(self, name: str) -> Request:
        """Return the request that asks about a job, or stops it."""
        return {f"{self.api}Name": name}

    def stopping(self, name: str) -> tuple[str, Request]:
        """Return what stops a job, as `arguments.show` takes it."""
        return f"Stop{self.api}", self.named(name)


PROCESSING = Kind("processing job", "processing_job", "ProcessingJob")
TRAINING = Kind("training job", "training_job", "TrainingJob")
TRANSFORM = Kind("batch transform job", "transform_job", "TransformJob")
SEARCH = Kind("search", "hyper_parameter_tuning_job", "HyperParameterTuningJob")


class NameTakenError(SettingsError):
    """There is a job of the name: another one, or this very one, where an answer got lost."""


class AwsJob:
    """One job of the account."""

    def __init__(self, kind: Kind, name: str, account: Account) -> None:
        self.kind = kind
        self.name = name
        self.account = account
        self.sagemaker = account.client("sagemaker")
        self.hourly = ""  # what it costs while it runs, once that is known
        self._sent = False
        self._runs = False

    def start(self, request: Request) -> None:
        """Create the job; raises NameTakenError when there is one of its name."""
        self._sent = True
        with aws.explained():
            try:
                self._call("create", **request)
            except self.sagemaker.exceptions.ResourceInUse:
                raise NameTakenError(
                    f"there is a {self.kind.word} {self.name} already: "
                    f"--backend aws --attach {self.name} follows it, another --job-name begins a new one"
                ) from None
        self._runs = True

    def stop(self) -> str:
        """Stop the job; returns how it had ended, if it had. Raises SettingsError for somebody else's."""
        found = self.describe()
        if (status := self.status(found)) in ENDED:
            return status
        what, remedy = f"{self.kind.word} {self.name}", "tag it if it is yours"
        tagged.must_be_own(self.account, what, found[f"{self.kind.api}Arn"], remedy)
        self._ask("stop")
        return ""

    def describe(self) -> dict[str, Any]:
        """Ask how the job is; raises SettingsError when there is none."""
        description = self._ask("describe")
        self._runs = self.status(description) not in ENDED
        self._sent = False  # how it stands is known now
        return description

    def status(self, description: Mapping[str, Any]) -> str:
        """Return one of InProgress, Stopping and those that have ENDED."""
        return str(description[f"{self.kind.api}Status"])

    @contextmanager
    def mentioned(self) -> Iterator[None]:
        """Say of whatever ends the starting or following that the job runs on, and how to come back."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
            back = f"--backend aws --attach {self.name} follows it, --stop {self.name} stops it"
            if self._runs:
                ending.add_note(f"the {self.kind.word} runs on{self.hourly}: {back}")
            elif self._sent and isinstance(ending, KeyboardInterrupt | SystemExit | NoAnswer):
                ending.add_note(f"AWS may have started the {self.kind.word} all the same: {back}")
            raise

    def _ask(self, verb: str) -> dict[str, Any]:
        missing = f"there is no {self.kind.word} {self.name} in this account and region"
        with aws.explained(missing=missing):
            return self._call(verb, **self.kind.named(self.name))

    def _call(self, verb: str, **parameters: Any) -> dict[str, Any]:
        call: Callable[..., dict[str, Any]] = getattr(self.sagemaker, f"{verb}_{self.kind.noun}")
        return call(**parameters)
