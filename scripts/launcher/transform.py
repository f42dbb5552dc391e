"""A batch transform job from its options to one file of predictions, here or on SageMaker.

Called by batch_transform.py and by the notebook. On SageMaker the job runs on whatever ends the following.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher import (
    arguments,
    aws_job,
    aws_transform,
    backends,
    batch,
    command_line,
    endpoint_requests,
    model_source,
    pictures,
    requests,
    transform_requests,
)
from launcher.account import Account
from launcher.aws_model_job import AwsModelJob
from launcher.endpoint import EndpointClient
from launcher.errors import SettingsError
from launcher.model_source import ModelSource
from launcher.requests import Request
from launcher.transform_arguments import AWS, name_of, source_of

OPERATION = "CreateTransformJob"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Predictions:
    """What came out: the file or its URI, its content, and its form (`batch.FORMATS`)."""

    place: str
    content: bytes
    form: str


def run(given: argparse.Namespace, say: Say) -> Predictions:
    """Answer every picture of the options' source.

    Raises WorkFailed, SettingsError, NoAnswer, and as AWS refuses or cannot be reached.
    """
    return _on_aws(given, say) if given.backend == AWS else _here(given, say)


def requests_of(given: argparse.Namespace, say: Say) -> dict[str, Request]:
    """Return what would be sent, by its operation."""
    if given.stop:
        return dict([aws_job.TRANSFORM.stopping(given.stop)])
    name = name_of(given)
    if given.backend != AWS:
        return _requests_here(given, name)
    return _requests_on_aws(given, name, arguments.account_of(given), say, send=False)


def stop(given: argparse.Namespace, say: Say) -> None:
    """Stop the job on SageMaker that the options name."""
    ended = AwsModelJob(aws_job.TRANSFORM, given.stop, arguments.account_of(given)).stop()
    say(f"it had ended: {ended}" if ended else f"stopping: --attach {given.stop} shows how it ends")


# ── on this machine ───────────────────────────────────────────────────────────────────────────────────


def _requests_here(given: argparse.Namespace, name: str) -> dict[str, Request]:
    if "://" in source_of(given):
        raise SettingsError(f"{given.source} is for --backend {AWS}: here it takes a FOLDER")
    job = transform_requests.transform_job(
        name=name,
        source=Path(given.source).resolve().as_uri(),
        output=_output(given, name).resolve().as_uri(),
        accept=batch.FORMATS[given.format],
    )
    model, *_ = _serving(given, name)
    return {"CreateModel": model, OPERATION: job}


def _output(given: argparse.Namespace, name: str) -> Path:
    return Path(given.output or f"runs/{name}")


def _serving(given: argparse.Namespace, name: str) -> tuple[Request, Request, Request]:
    archive = model_source.archive_of(Path(given.model))
    return endpoint_requests.on_this_machine(given.serve_image, archive, name, environment=batch.BATCH)


def _here(given: argparse.Namespace, say: Say) -> Predictions:
    name = name_of(given)
    job, folder = _requests_here(given, name)[OPERATION], Path(given.source)
    files = {file.relative_to(folder).as_posix(): file for file in pictures.find([folder])}
    backend = backends.choose(given.backend, say, memory=given.memory, cpus=given.cpus)
    with (
        backend.deploy(*_serving(given, name), port=0, on_line=say) as running,
        EndpointClient.connect(running.url) as client,
    ):
        named = batch.answers(client, job, files)
        shown = command_line.progress(named, total=len(files), what="asking the endpoint")
        content = batch.joined(shown, given.format)
    return Predictions(str(batch.write(_output(given, name), content, given.format)), content, given.format)


# ── on SageMaker ──────────────────────────────────────────────────────────────────────────────────────


def _on_aws(given: argparse.Namespace, say: Say) -> Predictions:
    account = arguments.account_of(given)
    job = AwsModelJob(aws_job.TRANSFORM, given.attach or name_of(given), account)
    if not given.attach:
        model, request = _requests_on_aws(given, job.name, account, say, send=True).values()
        with job.mentioned():
            job.start_with(model, request)
    with job.mentioned():
        description = job.follow(say)
    with job.fetching():
        return Predictions(*aws_transform.gather(description, account))


def _requests_on_aws(
    given: argparse.Namespace, name: str, account: Account, say: Say, *, send: bool
) -> dict[str, Request]:
    if not source_of(given).startswith("s3://"):
        raise SettingsError(
            f"{given.source} is not in S3: `prepare_data.py --data … --upload` brings photographs there"
        )
    archive = ModelSource(account, say, send=send).uri(given.model)
    model = endpoint_requests.model(
        name=name,
        image=given.serve_image or account.image("serve"),
        model_data=archive,
        role=account.role,
        isolation=account.settings.network.isolation,
        vpc=account.vpc,
        tags=account.tags,
    )
    job = transform_requests.transform_job(
        name=name,
        source=given.source,
        output=given.output or account.uri("predictions", name),
        accept=batch.FORMATS[given.format],
        instance_type=given.instance_type or account.settings.endpoint.instance_type,
        instances=given.instances,
        kms_key=account.settings.storage.kms_key,
        tags=account.tags,
    )
    return {"CreateModel": requests.validate("CreateModel", model), OPERATION: job}
