"""The command line of a search for hyperparameters, and the request that follows from it.

Called by launch_hpo.py, `searching`, and for its options by the notebook: what it imports, the other scripts
do without.
"""

import argparse
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path

from launcher import arguments, aws_arguments, aws_job, bounds, requests, search, tuning_request
from launcher.aws_arguments import AWS
from launcher.errors import SettingsError
from launcher.requests import Request

STORAGE = "SEARCH_STORAGE"  # in the environment a password is in no process list and no help text
# What goes with a request that is there already, whatever it holds: where it is carried out.
_PLACE = {"backend", "output", "settings", "storage"}
_BESIDE = {
    "request": _PLACE | {"job_name", "dry_run"},
    "attach": _PLACE,
    "stop": {"backend", "settings", "dry_run"},
}


def add(to: argparse.ArgumentParser) -> None:
    """Add what a search for hyperparameters is made from."""
    arguments.add_backend(to, AWS)
    arguments.add_training(to, needs_data=False)
    group = to.add_argument_group("search (what is not given is in the file)")
    group.add_argument("--config", type=Path, default=search.DEFAULT_FILE, metavar="FILE.toml")
    group.add_argument("--strategy", choices=search.STRATEGIES)
    group.add_argument("--max-trials", type=bounds.positive, metavar="N")
    group.add_argument("--max-parallel-trials", type=bounds.positive, metavar="N")
    group.add_argument(
        "--warm-start",
        type=arguments.named,
        nargs="+",
        default=[],
        metavar="NAME",
        help="learn from these earlier searches",
    )
    group.add_argument(
        "--storage",
        metavar="URL",
        help="database of the study, such as postgresql+psycopg://user@host/searches, which several machines "
        f"may share; a URL with a password belongs into {STORAGE} (default: SQLite, study.db)",
    )
    aws_arguments.add(to)
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--request",
        type=Path,
        metavar="FILE.json",
        help="carry out this request as it stands, but for --job-name",
    )
    start.add_argument(
        "--attach", type=arguments.named, metavar="NAME", help="go on with a search, or take part in it"
    )
    start.add_argument("--stop", type=arguments.named, metavar="NAME", help="stop a search on AWS")


def parse(parser: argparse.ArgumentParser, line: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; raises SettingsError for options that would be ignored."""
    values, given = arguments.parse_given(parser, line)
    arguments.refuse_beside(parser, given, _BESIDE)
    if values.stop and values.backend != AWS:
        raise SettingsError(f"--stop is for --backend {AWS}: a search on this machine ends with Ctrl-C")
    aws_arguments.refuse_elsewhere(parser, values, given)
    if values.storage and values.backend == AWS:
        raise SettingsError(
            f"--storage is for a search on this machine: with --backend {AWS} SageMaker keeps it"
        )
    return values


def options(**named: object) -> argparse.Namespace:
    """Return the options of a search, as launch_hpo.py reads them (`arguments.read`)."""
    return arguments.read(add, parse, **named)


def storage_of(given: argparse.Namespace, environment: MutableMapping[str, str]) -> str | None:
    """Return the URL of the study's database; None where it is a file in the search's folder.

    It is taken out of the environment, which trials inherit.
    """
    inherited = environment.pop(STORAGE, None)
    return given.storage or inherited


def operation_of(given: argparse.Namespace, say: Callable[[str], None]) -> tuple[str, Request]:
    """Return what a command line sends, as `arguments.show` takes it; raises SettingsError."""
    return (
        aws_job.SEARCH.stopping(given.stop)
        if given.stop
        else (tuning_request.OPERATION, request_of(given, say))
    )


def request_of(given: argparse.Namespace, say: Callable[[str], None]) -> Request:
    """Return the CreateHyperParameterTuningJob request of a command line; raises SettingsError."""
    request = _kept(given) if given.request else _made(given, say)
    if given.backend == AWS:
        requests.check_in_s3(request["TrainingJobDefinition"], "a search")
    return request


def _kept(given: argparse.Namespace) -> Request:
    """Return the request of a file, for a search of another name where one is given."""
    request = arguments.read_object(given.request, "request")
    if given.job_name:
        request["HyperParameterTuningJobName"] = given.job_name
    return tuning_request.check(request)


def _made(given: argparse.Namespace, say: Callable[[str], None]) -> Request:
    """Return the request that the options describe."""
    if not given.data:
        raise SettingsError("--data FOLDER is needed, or --request, or --attach")
    settings = search.read(
        given.config,
        strategy=given.strategy,
        max_trials=given.max_trials,
        max_parallel_trials=given.max_parallel_trials,
    )
    if fixed := sorted(settings.ranges.keys() & arguments.hyperparameters(given).keys()):
        settings = settings.without(fixed)
        say(f"not searched, as their values are given: {', '.join(fixed)}")
    on_aws = given.backend == AWS
    parts = aws_arguments.training_parts(given, aws_arguments.account_of(given)) if on_aws else {}
    training = arguments.training_request(given, **parts)
    return tuning_request.tuning_job(
        training["TrainingJobName"], settings, training, parents=given.warm_start
    )
