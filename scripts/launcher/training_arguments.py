"""The command line of a training job, and the request that follows from it.

Called by launch_training.py, `training`, and for its options by the notebook.
"""

import argparse
from collections.abc import Sequence

from launcher import arguments, aws_arguments, aws_job, requests
from launcher.aws_arguments import AWS
from launcher.errors import SettingsError
from launcher.requests import Request

# What goes with a job that is there already.
_BESIDE = {"attach": {"backend", "settings"}, "stop": {"backend", "settings", "dry_run"}}


def add(to: argparse.ArgumentParser) -> None:
    """Add what a training job is made from."""
    arguments.add_backend(to, AWS)
    arguments.add_training(to, needs_data=False)
    arguments.add_debugging(to)
    aws_arguments.add(to)
    start = to.add_mutually_exclusive_group()
    start.add_argument("--attach", type=arguments.named, metavar="NAME", help="follow a job on AWS")
    start.add_argument(
        "--stop", type=arguments.named, metavar="NAME", help="stop a job on AWS; its checkpoints stay"
    )


def parse(parser: argparse.ArgumentParser, line: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; raises SettingsError for options that would be ignored, or that are needed."""
    values, given = arguments.parse_given(parser, line)
    arguments.refuse_beside(parser, given, _BESIDE)
    if values.backend != AWS:
        arguments.refuse(parser, _BESIDE.keys() & given, f"only for jobs on AWS: --backend {AWS}")
    if not {"data", "attach", "stop"} & given:
        raise SettingsError("--data is needed: a folder with train/, valid/ and test/, or its s3:// URI")
    if values.backend == AWS and "output" in given:
        raise SettingsError("--output is a folder of this machine: on AWS results go to --s3-output")
    aws_arguments.refuse_elsewhere(parser, values, given)
    return values


def options(**named: object) -> argparse.Namespace:
    """Return the options of a job, as launch_training.py reads them (`arguments.read`)."""
    return arguments.read(add, parse, **named)


def operation_of(given: argparse.Namespace) -> tuple[str, Request]:
    """Return what a command line sends, as `arguments.show` takes it; raises as `request_of` does."""
    if given.stop:
        return aws_job.TRAINING.stopping(given.stop)
    return "CreateTrainingJob", request_of(given)


def request_of(given: argparse.Namespace) -> Request:
    """Return the CreateTrainingJob request of a command line.

    On AWS its checkpoints are kept in the bucket, so that a spot instance can be taken away, and a stopped
    job continued. Raises SettingsError, or DatasetError for pictures here that cannot be trained on.
    """
    arguments.hyperparameters(given)  # what is wrong with them is said before an account is asked for
    if given.backend != AWS:
        debugger = arguments.debugging_request(given, given.output.resolve().as_uri())
        return arguments.training_request(given, **debugger)
    account = aws_arguments.account_of(given)
    parts = aws_arguments.training_parts(given, account)
    debugger = arguments.debugging_request(given, parts["output_uri"], account.region)
    kept = given.checkpoints or account.uri("checkpoints", parts["name"])
    request = arguments.training_request(given, **parts, **debugger, checkpoints=kept)
    requests.check_in_s3(request, "a training job")
    return request
