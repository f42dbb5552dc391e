"""A batch transform job on SageMaker: started, followed, and its answers joined in one file beside them.

Called by `batch_transform.py`. The job runs there whether anybody follows it or not.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from launcher import aws, aws_log, batch, s3_upload
from launcher.account import Account
from launcher.batch import Named
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.s3 import THREADS, Prefix
from launcher.waiting import Waiting, looks

LOG_GROUP = "/aws/sagemaker/TransformJobs"
ANSWER = ".out"
_ENDED = {"Completed", "Failed", "Stopped"}


class AwsTransform:
    """One batch transform job of the account, and the model that was made for it, which has its name."""

    def __init__(self, name: str, account: Account, say: Callable[[str], None]) -> None:
        self.name = name
        self._account = account
        self._say = say
        self._sagemaker = account.client("sagemaker")

    def start(self, model: Request, request: Request) -> None:
        """Make the model, then the job; raises SettingsError when there is one of its name."""
        if self._described() is not None:
            raise SettingsError(
                f"there is a batch transform job {self.name}: --attach {self.name} follows it"
            )
        with self._mentioned("may have been started"), aws.explained():
            self._sagemaker.create_model(**model)
            try:
                self._sagemaker.create_transform_job(**request)
            except self._sagemaker.exceptions.ClientError:
                self.remove_model()
                raise

    def stop(self) -> None:
        """Stop the job; what it has answered stays."""
        with aws.explained(missing=self._missing):
            self._sagemaker.stop_transform_job(TransformJobName=self.name)

    def remove_model(self) -> None:
        """Remove what was made for the job."""
        with aws.explained():
            aws.unless_missing(self._sagemaker.delete_model, ModelName=self.name)

    def follow(self) -> dict[str, Any]:
        """Wait until the job has ended and return its description.

        Raises SettingsError when there is none, and WorkFailed, its reason first, when it did not succeed.
        """
        with self._mentioned("runs on"), Waiting(self._say) as waiting:
            description = self._wait(waiting)
        self.remove_model()
        if description["TransformJobStatus"] != "Completed":
            raise WorkFailed("\n".join(self._why(description)))
        return description

    def _wait(self, waiting: Waiting) -> dict[str, Any]:
        for _ in looks():
            if (description := self._described()) is None:
                raise SettingsError(self._missing)
            waiting.show(f"{self.name}: {description['TransformJobStatus']}")
            if description["TransformJobStatus"] in _ENDED:
                return description
        raise AssertionError("there is always another look")

    def _described(self) -> dict[str, Any] | None:
        with aws.explained():
            return aws.unless_missing(self._sagemaker.describe_transform_job, TransformJobName=self.name)

    @property
    def _missing(self) -> str:
        return f"there is no batch transform job {self.name} in this account and region"

    @contextmanager
    def _mentioned(self, how: str) -> Iterator[None]:
        """Say of whatever ends this that the job goes on, and how to come back to it."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
            ending.add_note(f"the job {how}: --attach {self.name} follows it, --stop {self.name} stops it")
            raise

    def _why(self, description: dict[str, Any]) -> list[str]:
        status, reason = description["TransformJobStatus"], description.get("FailureReason")
        log = aws_log.last_lines(
            self._account, LOG_GROUP, description["CreationTime"].timestamp(), stream=f"{self.name}/"
        )
        return [*([reason] if reason else []), f"the batch transform job {self.name}: {status}", *log]


def gather(description: dict[str, Any], account: Account) -> tuple[str, bytes, str]:
    """Join a finished job's answers in one file; return its URI, what is in it, and its form.

    Raises WorkFailed where there is no answer, and as S3 refuses.
    """
    output = description["TransformOutput"]
    form = next(name for name, accept in batch.FORMATS.items() if accept == output["Accept"])
    answers = Prefix(output["S3OutputPath"], account.client("s3"))
    source = Prefix(description["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"], answers.client)
    predictions = batch.joined(_answers(answers, source), form)
    encryption = s3_upload.encryption(account.settings.storage.kms_key)
    answers.write(f"predictions.{form}", predictions, encryption)
    return f"{answers.uri}/predictions.{form}", predictions, form


def _answers(output: Prefix, source: Prefix) -> Iterator[Named]:
    """Read every answer; its file's place is that of the picture, perhaps with the prefix of all pictures."""
    names = sorted(name for name in output.files() if name.endswith(ANSWER))
    if not names:
        raise WorkFailed(f"{output.uri} has no answers")
    with ThreadPoolExecutor(THREADS) as pool:
        for name, content in zip(names, pool.map(output.read, names), strict=True):
            yield name.removesuffix(ANSWER).removeprefix(source.key("")), content or b""
