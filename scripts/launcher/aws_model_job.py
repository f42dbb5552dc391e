"""A job on SageMaker that asks a model which was made for it alone: both are made, followed, cleaned up.

Called by `batch_transform.py`, and by `clarify_job` for `explain.py`. The job runs there whether anybody
follows it or not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from launcher import aws, aws_errors, aws_log, tagged
from launcher.account import Account
from launcher.aws_errors import NoAnswer
from launcher.aws_job import ENDED, AwsJob, Kind, NameTakenError
from launcher.aws_log import Tail
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.waiting import Waiting, looks

Say = Callable[[str], None]


class NothingLeftError(WorkFailed):
    """The job has ended well and left no result."""


class AwsModelJob(AwsJob):
    """One job of the account, and the model that was made for it, which has its name."""

    def __init__(self, kind: Kind, name: str, account: Account, *, with_log: bool = False) -> None:
        """With `with_log` the log of the job is shown while it is followed, else only when it fails."""
        super().__init__(kind, name, account)
        self._log = Tail(kind.log_group, f"{name}/", account.client("logs")) if with_log else None

    def start_with(self, model: Request, request: Request) -> None:
        """Make the model, then the job; raises NameTakenError when there is one of its name.

        Raises SettingsError for a name that another's model has.
        """
        try:
            self._make(model)
        except (KeyboardInterrupt, SystemExit, NoAnswer) as ending:
            again = f"--job-name {self.name} makes it anew, teardown.py removes it"
            ending.add_note(f"AWS may have made the model {self.name} all the same: {again}")
            raise
        try:
            self.start(request)
        except NoAnswer:
            raise
        except (SettingsError, WorkFailed) as refusal:
            if isinstance(refusal, NameTakenError) and self.status(self.describe()) not in ENDED:
                raise  # the one that runs may be this one, and need its model
            for left in self._model_left():
                refusal.add_note(left)
            raise

    def _make(self, model: Request) -> None:
        """Make the model, anew where it was left by a command that ended before it had a job."""
        with aws.explained():
            try:
                self.sagemaker.create_model(**model)
            except ClientError as error:
                if "already existing model" not in str(error):
                    raise
                self._require_own_model()
                if aws.unless_missing(partial(self._call, "describe"), **self.kind.named(self.name)) is None:
                    self.sagemaker.delete_model(ModelName=self.name)
                    self.sagemaker.create_model(**model)

    def _require_own_model(self) -> None:
        arn = self.account.arn("sagemaker", f"model/{self.name}")
        if not tagged.is_own(self.account, arn):
            raise SettingsError(f"there is another's model {self.name}: --job-name has to be another")

    def follow(self, say: Say) -> dict[str, Any]:
        """Wait until the job has ended and return its description.

        Raises SettingsError when there is none, and WorkFailed, its reason first, when it did not succeed.
        """
        with Waiting(say) as waiting:
            for _ in looks():
                description = self.describe()
                waiting.show(f"{self.name}: {self.status(description)}")
                self._show_log(say)
                if self.status(description) in ENDED:
                    break
        if self.status(description) != "Completed":
            raise WorkFailed("\n".join(self._why(description)))
        with self.fetching():
            for left in self._model_left():
                say(left)
        return description

    @contextmanager
    def fetching(self) -> Iterator[None]:
        """Say of whatever ends the fetching of the results early how to have them all the same.

        Not where there are none, and never will be: NothingLeftError.
        """
        try:
            yield
        except NothingLeftError:
            raise
        except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
            again = f"--backend aws --attach {self.name} fetches its results"
            ending.add_note(f"the {self.kind.word} has ended: {again}")
            raise

    def _show_log(self, say: Say) -> None:
        for _, line in self._log.lines(say) if self._log else ():
            say(line)

    def _why(self, description: dict[str, Any]) -> list[str]:
        """Return its reason, how it has ended, its log, and what is left of it."""
        reason = description.get("FailureReason")
        why = [aws_errors.advised(reason)] if reason else []
        why.append(f"the {self.kind.word} {self.name}: {self.status(description)}")
        begun, group = description["CreationTime"].timestamp(), self.kind.log_group
        try:
            why += aws_log.last_lines(self.account, group, begun, stream=f"{self.name}/")
            why += self._left()
        except (KeyboardInterrupt, SystemExit) as ending:
            for line in [*why, *self._may_be_left()]:
                ending.add_note(line)
            raise
        return why

    def _left(self) -> list[str]:
        """Clean up after a job that did not succeed; say what is left all the same."""
        return self._model_left()

    def _model_left(self) -> list[str]:
        """Remove what was made for the job; say what is left all the same."""
        try:
            with aws.explained():
                aws.unless_missing(self.sagemaker.delete_model, ModelName=self.name)
        except (SettingsError, WorkFailed) as error:
            return [f"its model {self.name} is left: teardown.py removes it: {error}"]
        return []

    def _may_be_left(self) -> list[str]:
        """Say what may be left where asking is over."""
        return [f"its model {self.name} may be left: teardown.py removes it"]
