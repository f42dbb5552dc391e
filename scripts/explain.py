#!/usr/bin/env python3
"""Show what on photographs spoke for their breeds: class activation maps here, SageMaker Clarify on AWS.

  python scripts/explain.py dog.jpg ../dogs/test
  python scripts/explain.py dog.jpg --backend aws --model runs/latest
  python scripts/explain.py s3://bucket/photos --backend aws --format png
  python scripts/explain.py --backend aws --attach dog-breeds-explain-…      # after Ctrl-C
  python scripts/explain.py --backend aws --stop dog-breeds-explain-…

Here it is what `predict.py --explain` does: a PNG a photograph, exact and at once. Clarify knows nothing of
the network: it hides parts of each photograph and sees what the model makes of the rest, which takes hundreds
of requests a photograph, to an endpoint that it starts for itself. The folder with what was found is the
last line on stdout.
Exit codes: 0 done; 1 the job failed; 2 a setting is wrong.
"""

import argparse
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from launcher import arguments as command
from launcher import (
    aws_job,
    backends,
    clarify_files,
    clarify_images,
    clarify_requests,
    command_line,
    endpoint_requests,
    jobs,
    offline,
    requests,
)
from launcher.account import Account
from launcher.clarify_job import ClarifyJob
from launcher.command_line import tell
from launcher.errors import SettingsError
from launcher.model_source import ModelSource
from launcher.requests import Request

AWS = "aws"
BESIDE = {"attach": {"backend", "settings", "output"}, "stop": {"backend", "settings", "dry_run"}}
ON_AWS = {"settings", "format", "clarify_image", "attach", "stop"}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "photographs",
        type=command.place,
        nargs="*",
        metavar="FILE|FOLDER|s3://…",
        help="folders are searched; of S3 one prefix",
    )
    command.add_backend(parser, AWS)
    parser.add_argument(
        "--model",
        type=command.model,
        default="runs/latest",
        help="a job's folder; on AWS an archive, s3://… or a job's name, too",
    )
    parser.add_argument("--image", metavar="IMAGE", help="what answers (default: the project's own)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/<job>")
    parser.add_argument(
        "--job-name", type=command.named, metavar="NAME", help="default: a new one, with the time"
    )
    group = parser.add_argument_group("with SageMaker Clarify (--backend aws)")
    command.add_settings(group)
    group.add_argument(
        "--format", choices=list(clarify_requests.FORMATS), default="jpeg", help="of all photographs of a job"
    )
    group.add_argument("--clarify-image", metavar="IMAGE", help="default: the region's")
    start = group.add_mutually_exclusive_group()
    start.add_argument("--attach", type=command.named, metavar="NAME", help="follow a job that was started")
    start.add_argument("--stop", type=command.named, metavar="NAME", help="stop a job")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    found, given = command.parse_given(parser)
    if found.backend != AWS:
        command.refuse(parser, given & ON_AWS, f"only with --backend {AWS}")
    command.refuse_beside(parser, given - ({"photographs"} if not found.photographs else set()), BESIDE)
    return found


def main() -> int:
    """Explain, and print where the explanations are."""
    arguments = parse_arguments()
    if arguments.backend != AWS:
        return here(arguments)
    if arguments.dry_run:
        command.show(operations_of(arguments))
        return 0
    account = command.account_of(arguments)
    name = str(arguments.attach or arguments.stop or name_of(arguments))
    job = ClarifyJob(name, account)
    if arguments.stop:
        ended = job.stop()
        shows = f"--attach {name} shows how it ends, and whether Clarify's endpoint is left, which costs"
        tell(f"it had ended: {ended}" if ended else f"stopping: {shows}")
        return 0
    if not arguments.attach:
        planned = plan(arguments, name, account)
        with job.mentioned(), clarify_files.kept(planned.files, planned.uri):
            clarify_files.send(planned.files, planned.uri, planned.configuration, account)
            job.start_with(planned.model, planned.job)
    with job.mentioned():
        description = job.follow(tell)
    folder = folder_of(arguments, name)
    with job.fetching():
        clarify_files.fetch(description, folder, account, tell)
    print(folder)
    return 0


def operations_of(arguments: argparse.Namespace) -> list[tuple[str, Request]]:
    """Return what would be sent."""
    if arguments.stop:
        return [aws_job.PROCESSING.stopping(arguments.stop)]
    planned = plan(arguments, name_of(arguments), command.account_of(arguments))
    if planned.files:
        tell(f"{len(planned.files):,} photographs are sent to {planned.uri}")
    return planned.operations


def here(arguments: argparse.Namespace) -> int:
    """Become `predict`, which draws where the network looked."""
    if any("://" in place for place in needed(arguments)):
        raise SettingsError(f"s3:// is for --backend {AWS}: here it takes files and folders")
    folder = folder_of(arguments, name_of(arguments))
    program = offline.predict_command(
        backends.choose(arguments.backend, tell).name,
        image=arguments.image or requests.SERVING_IMAGE,
        job=Path(arguments.model),
        paths=[Path(place) for place in arguments.photographs],
        options=[],
        explain=folder,
        terminal=sys.stdout.isatty() and sys.stderr.isatty(),
    )
    if not arguments.dry_run:
        tell(f"the explanations come to {folder}")
        os.execvp(program[0], program)  # noqa: S606 - an argument list, no shell
    print(shlex.join(program))
    return 0


@dataclass(frozen=True)
class Plan:
    """What is to be sent: photographs of this machine, Clarify's configuration, the model and the job."""

    uri: str  # of the photographs
    configuration: Request
    model: Request
    job: Request
    files: dict[str, Path] = field(default_factory=dict)  # none where the photographs are in S3

    @property
    def operations(self) -> list[tuple[str, Request]]:
        """All requests in their order, but those that bring the photographs."""
        return [
            ("PutObject", self.configuration),
            ("CreateModel", self.model),
            ("CreateProcessingJob", self.job),
        ]


def plan(arguments: argparse.Namespace, name: str, account: Account) -> Plan:
    """Build all requests; the model of this machine is sent, unless nothing is to be done."""
    places, source = needed(arguments), ModelSource(account, tell, send=not arguments.dry_run)
    files, uri = {}, places[0]
    if not uri.startswith("s3://"):
        files = clarify_files.photographs(places, arguments.format)
        uri = account.uri("explanations", name, "photographs")
    elif len(places) > 1:
        raise SettingsError("photographs in S3 are one prefix: a job reads a single place")
    image = arguments.clarify_image or clarify_images.clarify_image(account.region)
    content = clarify_requests.analysis(
        account, model=name, classes=[*source.classes(arguments.model).values()], form=arguments.format
    )
    model = endpoint_requests.model(
        name=name,
        image=arguments.image or account.image("serve"),
        model_data=source.uri(arguments.model),
        role=account.role,
        isolation=account.settings.network.isolation,
        vpc=account.vpc,
        tags=account.tags,
    )
    return Plan(
        uri,
        clarify_requests.upload(account, name=name, content=content),
        requests.validate("CreateModel", model),
        clarify_requests.processing_job(account, name=name, image=image, photographs=uri),
        files,
    )


def needed(arguments: argparse.Namespace) -> list[str]:
    """Return where the photographs are; SettingsError when that is not said."""
    if not arguments.photographs:
        raise SettingsError("the photographs are needed: FILE, FOLDER or s3://…, or --attach, or --stop")
    return list(arguments.photographs)


def name_of(arguments: argparse.Namespace) -> str:
    """Return the job's name, which is its model's as well."""
    return str(arguments.job_name or jobs.new_name("dog-breeds-explain"))


def folder_of(arguments: argparse.Namespace, name: str) -> Path:
    """Return where what was found is to lie."""
    return Path(arguments.output or f"runs/{name}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
