"""A job on SageMaker that asks a model which was made for it alone: both are made, followed, cleaned up.

Called by `batch_transform.py`, and by `clarify_job` for `explain.py`. The job runs there whether anybody
follows it or not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from launcher import aws, aws_errors, aws_log
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
        """Make the model, then the job; raises NameTakenError when there is one of its name."""
        with aws.explained():
            self.sagemaker.create_model(**model)
        try:
            self.start(request)
        except NoAnswer:
            raise
        except NameTakenError:
            if self.status(self.describe()) in ENDED:  # one that runs may be this one, and need it
                self.remove_model()
            raise
        except (SettingsError, WorkFailed):  # it was refused
            self.remove_model()
            raise

    def remove_model(self) -> None:
        """Remove what was made for the job."""
        with aws.explained():
            aws.unless_missing(self.sagemaker.delete_model, ModelName=self.name)

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
        self.remove_model()
        if self.status(description) != "Completed":
            raise WorkFailed("\n".join(self._why(description)))
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
        begun, reason = description["CreationTime"].timestamp(), description.get("FailureReason")
        log = aws_log.last_lines(self.account, self.kind.log_group, begun, stream=f"{self.name}/")
        what = f"the {self.kind.word} {self.name}: {self.status(description)}"
        return [*([aws_errors.advised(reason)] if reason else []), what, *log]
