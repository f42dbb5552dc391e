"""The command line of a batch transform job.

Called by batch_transform.py, `transform`, and for its options by the notebook.
"""

import argparse
from collections.abc import Sequence

from launcher import arguments, batch, bounds, jobs
from launcher.errors import SettingsError

AWS = "aws"  # the backend that is no process of this machine
_BESIDE = {"attach": {"backend", "settings"}, "stop": {"backend", "settings", "dry_run"}}
ON_AWS = {"settings", "instance_type", "instances", "attach", "stop"}


def add(to: argparse.ArgumentParser) -> None:
    """Add what a batch transform job is made from."""
    to.add_argument(
        "source", type=arguments.place, nargs="?", metavar="FOLDER|s3://…", help="the photographs"
    )
    arguments.add_backend(to, AWS)
    arguments.add_serving(to)
    to.add_argument(
        "--model",
        type=arguments.model,
        default="runs/latest",
        help="a job's folder, an archive, s3://…, or a training job's name",
    )
    to.add_argument("--format", choices=list(batch.FORMATS), default="csv", help="of the predictions")
    to.add_argument(
        "--output",
        type=arguments.place,
        metavar="FOLDER|s3://…",
        help="default: runs/<job>, or predictions/<job>",
    )
    to.add_argument(
        "--job-name", type=arguments.named, metavar="NAME", help="default: a new one, with the time"
    )
    group = to.add_argument_group("on SageMaker (--backend aws)")
    arguments.add_settings(group)
    group.add_argument(
        "--instance-type",
        type=arguments.instance_type,
        metavar="TYPE",
        help="default: the endpoint's, of the settings",
    )
    group.add_argument("--instances", type=bounds.positive, default=1, metavar="N")
    start = group.add_mutually_exclusive_group()
    start.add_argument("--attach", type=arguments.named, metavar="NAME", help="follow a job that was started")
    start.add_argument("--stop", type=arguments.named, metavar="NAME", help="stop a job")


def parse(parser: argparse.ArgumentParser, line: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; raises SettingsError for options that would be ignored."""
    found, given = arguments.parse_given(parser, line)
    if found.backend != AWS:
        arguments.refuse(parser, given & ON_AWS, f"only with --backend {AWS}")
    arguments.refuse_beside(parser, given, _BESIDE)
    if found.backend == AWS and "serve_image" not in given:
        found.serve_image = None  # the account's own
    return found


def options(source: object, **named: object) -> argparse.Namespace:
    """Return the options of a job, as batch_transform.py reads them (`arguments.read`)."""
    return arguments.read(add, parse, source, **named)


def name_of(given: argparse.Namespace) -> str:
    """Return the job's name, which is its model's as well."""
    return str(given.job_name or jobs.new_name("dog-breeds-batch"))


def source_of(given: argparse.Namespace) -> str:
    """Return where the photographs are; SettingsError when that is not said."""
    if not given.source:
        raise SettingsError("the photographs are needed: FOLDER or s3://…, or --attach, or --stop")
    return str(given.source)
