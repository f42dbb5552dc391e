#!/usr/bin/env python3
"""Name the breeds on a whole folder of photographs, here or in S3: a CreateTransformJob request, carried out.

  python scripts/batch_transform.py ../dogs/test --format csv
  python scripts/batch_transform.py s3://bucket/photos --backend aws --model runs/latest
  python scripts/batch_transform.py --backend aws --attach dog-breeds-batch-…      # after Ctrl-C
  python scripts/batch_transform.py --backend aws --stop dog-breeds-batch-…

One line a picture, with its name, in predictions.csv or .jsonl; a picture that cannot be read has an error
there, and the others are answered all the same. Where it lies is the last line on stdout.
Exit codes: 0 done; 1 the job failed, or some pictures have an error; 2 a setting is wrong.
"""

import argparse
import sys
from pathlib import Path

from launcher import arguments as command
from launcher import (
    aws_job,
    aws_transform,
    backends,
    batch,
    command_line,
    endpoint_requests,
    jobs,
    pictures,
    requests,
    transform_requests,
)
from launcher.account import Account
from launcher.aws_model_job import AwsModelJob
from launcher.command_line import tell
from launcher.endpoint import EndpointClient
from launcher.errors import SettingsError
from launcher.model_source import ARCHIVE, ModelSource
from launcher.requests import Request

AWS = "aws"
OPERATION = "CreateTransformJob"
ON_AWS = {"settings", "instance_type", "instances", "attach", "stop"}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("source", nargs="?", metavar="FOLDER|s3://…", help="the photographs")
    command.add_backend(parser, AWS)
    command.add_serving(parser)
    parser.add_argument(
        "--model", default="runs/latest", help="a job's folder, an archive, s3://…, or a training job's name"
    )
    parser.add_argument("--format", choices=list(batch.FORMATS), default="csv", help="of the predictions")
    parser.add_argument("--output", metavar="FOLDER|s3://…", help="default: runs/<job>, or predictions/<job>")
    parser.add_argument("--job-name", metavar="NAME", help="default: a new one, with the time")
    group = parser.add_argument_group("on SageMaker (--backend aws)")
    command.add_settings(group)
    group.add_argument("--instance-type", metavar="TYPE", help="default: the endpoint's, of the settings")
    group.add_argument("--instances", type=command.positive, default=1, metavar="N")
    start = group.add_mutually_exclusive_group()
    start.add_argument("--attach", metavar="NAME", help="follow a job that was started")
    start.add_argument("--stop", metavar="NAME", help="stop a job")
    parser.add_argument("--dry-run", action="store_true", help="print the requests and do nothing")
    found, given = command.parse_given(parser)
    if found.backend != AWS:
        command.refuse(parser, given & ON_AWS, f"only with --backend {AWS}")
    elif "serve_image" not in given:
        found.serve_image = None  # the account's own
    return found


def main() -> int:
    """Answer every picture; print where the predictions are."""
    arguments = parse_arguments()
    if arguments.backend != AWS:
        return here(arguments)
    account = command.account_of(arguments)
    if arguments.stop:
        ended = AwsModelJob(aws_job.TRANSFORM, arguments.stop, account).stop()
        tell(f"it had ended: {ended}" if ended else f"stopping: --attach {arguments.stop} shows how it ends")
        return 0
    job = AwsModelJob(aws_job.TRANSFORM, arguments.attach or name_of(arguments), account)
    if not arguments.attach:
        model, request = requests_of(arguments, job.name, account)
        if arguments.dry_run:
            command.show([("CreateModel", model), (OPERATION, request)])
            return 0
        with job.mentioned():
            job.start_with(model, request)
    with job.mentioned():
        description = job.follow(tell)
    return conclude(*aws_transform.gather(description, account))


def here(arguments: argparse.Namespace) -> int:
    """Carry the request out with an endpoint on this machine."""
    if "://" in needed(arguments):
        raise SettingsError(f"{arguments.source} is for --backend {AWS}: here it takes a FOLDER")
    folder, name, model = Path(arguments.source), name_of(arguments), Path(arguments.model)
    output = Path(arguments.output or f"runs/{name}")
    job = transform_requests.transform_job(
        name=name,
        source=folder.resolve().as_uri(),
        output=output.resolve().as_uri(),
        accept=batch.FORMATS[arguments.format],
    )
    archive = model / ARCHIVE if model.is_dir() else model
    serving = endpoint_requests.on_this_machine(arguments.serve_image, archive, name, environment=batch.BATCH)
    if arguments.dry_run:
        command.show([("CreateModel", serving[0]), (OPERATION, job)])
        return 0
    files = {file.relative_to(folder).as_posix(): file for file in pictures.find([folder])}
    backend = backends.choose(arguments.backend, tell, memory=arguments.memory, cpus=arguments.cpus)
    with (
        backend.deploy(*serving, port=0, on_line=tell) as running,
        EndpointClient.connect(running.url) as client,
    ):
        named = batch.answers(client, job, files)
        shown = command_line.progress(named, total=len(files), what="asking the endpoint")
        predictions = batch.joined(shown, arguments.format)
    return conclude(str(batch.write(output, predictions, arguments.format)), predictions, arguments.format)


def requests_of(arguments: argparse.Namespace, name: str, account: Account) -> tuple[Request, Request]:
    """Return the CreateModel and CreateTransformJob requests for an account."""
    if not needed(arguments).startswith("s3://"):
        raise SettingsError(
            f"{arguments.source} is not in S3: `prepare_data.py --data … --upload` brings photographs there"
        )
    archive = ModelSource(account, tell, send=not arguments.dry_run).uri(arguments.model)
    model = endpoint_requests.model(
        name=name,
        image=arguments.serve_image or account.image("serve"),
        model_data=archive,
        role=account.role,
        isolation=account.settings.network.isolation,
        vpc=account.vpc,
        tags=account.tags,
    )
    job = transform_requests.transform_job(
        name=name,
        source=arguments.source,
        output=arguments.output or account.uri("predictions", name),
        accept=batch.FORMATS[arguments.format],
        instance_type=arguments.instance_type or account.settings.endpoint.instance_type,
        instances=arguments.instances,
        kms_key=account.settings.storage.kms_key,
        tags=account.tags,
    )
    return requests.validate("CreateModel", model), job


def name_of(arguments: argparse.Namespace) -> str:
    """Return the job's name, which is its model's as well."""
    return str(arguments.job_name or jobs.new_name("dog-breeds-batch"))


def needed(arguments: argparse.Namespace) -> str:
    """Return where the photographs are; SettingsError when that is not said."""
    if not arguments.source:
        raise SettingsError("the photographs are needed: FOLDER or s3://…, or --attach, or --stop")
    return str(arguments.source)


def conclude(place: str, predictions: bytes, form: str) -> int:
    """Say where the predictions are, and what they lack."""
    refused = batch.refused(predictions, form)
    if refused:
        tell(f"{refused:,} pictures have an error instead of a prediction")
    print(place)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
