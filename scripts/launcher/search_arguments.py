"""The command line of a search for hyperparameters, and the request that follows from it.

Called by scripts/launch_hpo.py alone: what it imports, the other scripts do without.
"""

import argparse
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path

from launcher import arguments, jobs, search, tuning_request
from launcher.errors import SettingsError
from launcher.requests import TRAINING_INSTANCE, Request

AWS = "aws"  # the backend that is no process of this machine
STORAGE = "SEARCH_STORAGE"  # in the environment a password is in no process list and no help text
# What goes with a request that is there already, whatever it holds: where it is carried out.
_PLACE = {"backend", "output", "storage"}
_BESIDE = {"request": _PLACE | {"job_name", "dry_run"}, "attach": _PLACE, "stop": _PLACE}


def add(to: argparse.ArgumentParser) -> None:
    """Add what a search for hyperparameters is made from."""
    arguments.add_backend(to, AWS)
    arguments.add_training(to, needs_data=False)
    group = to.add_argument_group("search (what is not given is in the file)")
    group.add_argument("--config", type=Path, default=search.DEFAULT_FILE, metavar="FILE.toml")
    group.add_argument("--strategy", choices=search.STRATEGIES)
    group.add_argument("--max-trials", type=arguments.positive, metavar="N")
    group.add_argument("--max-parallel-trials", type=arguments.positive, metavar="N")
    group.add_argument(
        "--warm-start", nargs="+", default=[], metavar="NAME", help="learn from these earlier searches"
    )
    group.add_argument(
        "--storage",
        metavar="URL",
        help="database of the study, such as postgresql+psycopg://user@host/searches, which several machines "
        f"may share; a URL with a password belongs into {STORAGE} (default: SQLite, study.db)",
    )
    _add_aws(to)
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--request",
        type=Path,
        metavar="FILE.json",
        help="carry out this request as it stands, but for --job-name",
    )
    start.add_argument("--attach", metavar="NAME", help="go on with a search, or take part in it")
    start.add_argument("--stop", metavar="NAME", help="stop a search on AWS")


def _add_aws(to: argparse.ArgumentParser) -> None:
    """Add what --backend aws needs; credentials and region come from the environment, as boto3 takes them."""
    group = to.add_argument_group("on AWS (--backend aws; --data, --pretrained, --checkpoints in S3)")
    group.add_argument("--role", metavar="ARN", help="what the trials may do")
    group.add_argument("--s3-output", metavar="s3://BUCKET/PREFIX", help="for the trials' results")
    group.add_argument("--instance-type", default=TRAINING_INSTANCE, metavar="TYPE")


def parse(parser: argparse.ArgumentParser, line: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; raises SettingsError for options that --request, --attach or --stop ignore."""
    values, given = arguments.parse_given(parser, line)
    for start in _BESIDE.keys() & given:
        if others := given - _BESIDE[start] - {start}:
            flags = arguments.flags(parser, others)
            raise SettingsError(f"--{start} excludes {flags}: the request is there already")
    return values


def _needed(value: str | None, flag: str) -> str:
    if not value:
        raise SettingsError(f"--backend {AWS} needs {flag}")
    return value


def storage_of(given: argparse.Namespace, environment: MutableMapping[str, str]) -> str | None:
    """Return the URL of the study's database; None where it is a file in the search's folder.

    It is taken out of the environment, which trials inherit.
    """
    inherited = environment.pop(STORAGE, None)
    return given.storage or inherited


def request_of(given: argparse.Namespace, say: Callable[[str], None]) -> Request:
    """Return the CreateHyperParameterTuningJob request of a command line; raises SettingsError."""
    request = _kept(given) if given.request else _made(given, say)
    return tuning_request.check_places(request) if given.backend == AWS else request


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
    given.job_name = given.job_name or jobs.new_name()
    settings = search.read(
        given.config,
        strategy=given.strategy,
        max_trials=given.max_trials,
        max_parallel_trials=given.max_parallel_trials,
    )
    if fixed := sorted(settings.ranges.keys() & arguments.hyperparameters(given).keys()):
        settings = settings.without(fixed)
        say(f"not searched, as their values are given: {', '.join(fixed)}")
    place = {"instance_type": given.instance_type}
    if given.backend == AWS:
        place |= {
            "role": _needed(given.role, "--role"),
            "output_uri": _needed(given.s3_output, "--s3-output"),
        }
    training = arguments.training_request(given, **place)
    return tuning_request.tuning_job(given.job_name, settings, training, parents=given.warm_start)
