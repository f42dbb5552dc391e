"""Where a model that is to be served on SageMaker comes from: this machine, S3, or a training job there.

Called by `serving`, `transform`, explain.py, model_card.py and the notebook. An archive of this machine is
sent to the project's bucket under its SHA-256, so that the same model is sent once.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from launcher import archives, aws, downloads, s3_upload, workers
from launcher.account import Account
from launcher.errors import SettingsError
from launcher.sender import Sender

ARCHIVE = "output/model.tar.gz"  # below a job's folder
_DESCRIPTION = "artifact.json"
THE_CLASSES = "CLASSES-OF-THE-MODEL"  # in a --dry-run that cannot look into it
_UNKNOWN = json.dumps({"classes": [{"name": THE_CLASSES, "label": THE_CLASSES}]}).encode()
_JOB = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")


def archive_of(model: Path) -> Path:
    """Return the archive of a model on this machine, which a job's folder stands for, too."""
    return model / ARCHIVE if model.is_dir() else model


def _no_model_here(name: str) -> str:
    """Say what a name, which may be that of a training job, is not on this machine."""
    if Path(name).is_dir():
        return f"{name} is no job's folder here: it has no {ARCHIVE}"
    return f"{name} is no archive and no job's folder here"


class ModelSource:
    """Finds models; with `send` it sends those of this machine, else it says what would be sent."""

    def __init__(self, account: Account, say: Callable[[str], None], *, send: bool) -> None:
        self._account = account
        self._say = say
        self._send = send
        self._of_jobs: dict[str, str] = {}  # asked for once, and said once where it is not known

    def uri(self, model: str) -> str:
        """Return the URI of a model: an archive or a job's folder, an s3:// URI, or a training job's name.

        Raises SettingsError where there is none.
        """
        if "://" in model:
            if not re.fullmatch(r"s3://[^/]+/.+", model):
                raise SettingsError(f"{model}: a model is a file, a job's folder, a job's name or s3://…")
            return model
        if (archive := archive_of(Path(model))).is_file():
            return self._sent(archive)
        if _JOB.fullmatch(model):
            if model not in self._of_jobs:
                self._of_jobs[model] = self._of_job(model)
            return self._of_jobs[model]
        raise SettingsError(f"there is no model at {archive}: train one first (make train), or name another")

    def classes(self, model: str) -> dict[str, str]:
        """Return what a model's classes are called, by their names in order; raises as `description`."""
        content = json.loads(self.description(model))
        return {str(each["name"]): str(each["label"]) for each in content["classes"]}

    def description(self, model: str) -> bytes:
        """Return a model's artifact.json, as it is; one made up where nothing is sent and S3 not known.

        Raises SettingsError where there is no such model, and WorkFailed for an archive that is none.
        """
        if (archive := archive_of(Path(model))).is_file():
            with archive.open("rb") as stream:
                return archives.read(stream, _DESCRIPTION)
        uri = self.uri(model)
        try:
            found = self._in_s3(uri)
        except SettingsError as error:
            if self._send:
                raise
            self._say(f"what the classes of {model} are called is not known: {error}")
            return _UNKNOWN
        if found is None:
            raise SettingsError(f"there is no model at {uri}")
        return found

    def _in_s3(self, uri: str) -> bytes | None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        with aws.explained():
            found = aws.unless_missing(self._account.client("s3").get_object, Bucket=bucket, Key=key)
            return None if found is None else archives.read(found["Body"], _DESCRIPTION)

    def _sent(self, archive: Path) -> str:
        content = s3_upload.content_of(archive)
        key = f"models/{content.sha256[:16]}/model.tar.gz"
        uri = self._account.uri(key)
        if not self._send:
            self._say(f"{archive} ({content}) is sent to {uri}, unless it is there")
            return uri
        client = self._account.client("s3")
        with aws.explained():
            there = aws.unless_missing(client.head_object, Bucket=self._account.bucket, Key=key)
            if there and there["ContentLength"] == content.size:
                self._say(f"{uri} is there already")
                return uri
        self._bring(archive, key)
        self._say(f"{archive} is now {uri}")
        return uri

    def _bring(self, archive: Path, key: str) -> None:
        sender, storage = Sender(self._account.client("s3")), self._account.settings.storage
        with sender.given_up(), downloads.byte_progress() as progress:
            task = progress.add_task(archive.name, total=archive.stat().st_size)

            def send(file: Path) -> None:
                extra = s3_upload.encryption(storage.kms_key)
                sender.send(file, self._account.bucket, key, extra, partial(progress.advance, task))

            for _ in workers.done(send, [archive], 1):
                continue

    def _of_job(self, name: str) -> str:
        try:
            client = self._account.client("sagemaker")
            with aws.explained():
                job = aws.unless_missing(client.describe_training_job, TrainingJobName=name)
        except SettingsError as error:
            if self._send:
                raise SettingsError(
                    f"{_no_model_here(name)}, and whether it is a training job cannot be asked: {error}"
                ) from None
            self._say(f"where {name} has put its model is not known: {error}")
            return self._account.uri(name, ARCHIVE)
        if job is None:
            raise SettingsError(f"{_no_model_here(name)}, and no training job in this account and region")
        if job["TrainingJobStatus"] != "Completed":
            raise SettingsError(f"the training job {name} has no model: it is {job['TrainingJobStatus']}")
        return str(job["ModelArtifacts"]["S3ModelArtifacts"])
