"""What a batch transform job on SageMaker has answered, joined in one file beside its answers.

Called by `batch_transform.py`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from launcher import batch, s3_upload
from launcher.account import Account
from launcher.aws_model_job import NothingLeftError
from launcher.batch import Named
from launcher.s3 import THREADS, Prefix

ANSWER = ".out"


def gather(description: dict[str, Any], account: Account) -> tuple[str, bytes, str]:
    """Join a finished job's answers in one file; return its URI, what is in it, and its form.

    Raises NothingLeftError where there is no answer, and as S3 refuses.
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
        raise NothingLeftError(f"{output.uri} has no answers")
    with ThreadPoolExecutor(THREADS) as pool:
        for name, content in zip(names, pool.map(output.read, names), strict=True):
            yield name.removesuffix(ANSWER).removeprefix(source.key("")), content or b""
