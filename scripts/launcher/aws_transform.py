"""A batch transform job on SageMaker: started, followed, and its answers joined in one file beside them.

Called by `batch_transform.py`. The job runs there whether anybody follows it or not.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from launcher import aws, aws_errors, aws_job, aws_log, batch, s3_upload
from launcher.account import Account
from launcher.aws_errors import NoAnswer
from launcher.aws_job import ENDED, AwsJob
from launcher.batch import Named
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.s3 import THREADS, Prefix
from launcher.waiting import Waiting, looks

LOG_GROUP = "/aws/sagemaker/TransformJobs"
ANSWER = ".out"


class AwsTransform(AwsJob):
    """One batch transform job of the account, and the model that was made for it, which has its name."""

    def __init__(self, name: str, account: Account) -> None:
        super().__init__(aws_job.TRANSFORM, name, account)

    def start_with(self, model: Request, request: Request) -> None:
        """Make the model, then the job; raises SettingsError when there is one of its name."""
        with aws.explained():
            self.sagemaker.create_model(**model)
        try:
            self.start(request)
        except NoAnswer:
            raise
        except (SettingsError, WorkFailed):  # it was refused
            self.remove_model()
            raise

    def remove_model(self) -> None:
        """Remove what was made for the job."""
        with aws.explained():
            aws.unless_missing(self.sagemaker.delete_model, ModelName=self.name)

    def follow(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Wait until the job has ended and return its description.

        Raises SettingsError when there is none, and WorkFailed, its reason first, when it did not succeed.
        """
        with Waiting(say) as waiting:
            for _ in looks():
                description = self.describe()
                waiting.show(f"{self.name}: {self.status(description)}")
                if self.status(description) in ENDED:
                    break
        self.remove_model()
        if self.status(description) != "Completed":
            raise WorkFailed("\n".join(self._why(description)))
        return description

    def _why(self, description: dict[str, Any]) -> list[str]:
        begun, reason = description["CreationTime"].timestamp(), description.get("FailureReason")
        log = aws_log.last_lines(self.account, LOG_GROUP, begun, stream=f"{self.name}/")
        what = f"the {self.kind.word} {self.name}: {self.status(description)}"
        return [*([aws_errors.advised(reason)] if reason else []), what, *log]


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
