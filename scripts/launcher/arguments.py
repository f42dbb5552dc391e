"""Command-line arguments that several scripts share, and the requests that follow from them.

A hyperparameter that is not given is not sent: the trainer's defaults are the only ones.
"""

import argparse
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from launcher import (
    aws,
    backends,
    bounds,
    command_line,
    costs,
    datasets,
    debugging,
    hyperparameter_check,
    jobs,
    prices,
    requests,
    settings,
)
from launcher.account import Account
from launcher.errors import SettingsError
from launcher.requests import Json, Request
from trainer.metrics import metric_definitions

# The hyperparameters that have a flag of their own; every other one is given with --set.
FLAGS = ("backbone", "epochs", "batch-size", "learning-rate")
LEAST_MEMORY = 6 * 1024**2  # bytes: the Docker engine gives a container no less


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help shows the script's own docstring and every default."""
    summary, _, rest = (description or "").partition("\n")
    return argparse.ArgumentParser(description=summary, epilog=rest, formatter_class=_Help)


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and leaves the examples' lines as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default or action.default == 0 else action.help


def parse_given(
    parser: argparse.ArgumentParser, line: Sequence[str] | None = None, *, needed: Sequence[str] = ()
) -> tuple[argparse.Namespace, set[str]]:
    """Read the command line; returns the names of what it gives, too: all else has its default.

    `needed` is what stands for arguments without a default.
    """
    defaults = vars(parser.parse_args(needed))
    nothing = argparse.Namespace(**dict.fromkeys(defaults))  # so that argparse fills no default in
    values = vars(parser.parse_args(line, nothing))
    given = {name: value for name, value in values.items() if value is not None}
    return argparse.Namespace(**defaults | given), set(given)


def read(
    add: Callable[[argparse.ArgumentParser], None],
    parse: Callable[[argparse.ArgumentParser, Sequence[str]], argparse.Namespace],
    *words: object,
    **options: object,
) -> argparse.Namespace:
    """Return what a script reads of its command line, for a program that has none, such as the notebook.

    `batch_size=32` stands for --batch-size 32, True for an option without a value, None for none, a list for
    an option that is repeated and a tuple for one with several values. Raises SettingsError.
    """
    parser = _Raising()
    add(parser)
    return parse(parser, [*map(str, words), *_line(options)])


class _Raising(argparse.ArgumentParser):
    """Raises what is wrong with a line, where a script would end."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def _line(options: dict[str, object]) -> Iterator[str]:
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, tuple):
                yield from (flag, *map(str, each))
            elif each is not None and each is not False:
                yield flag if each is True else f"{flag}={each}"


def flags(parser: argparse.ArgumentParser, names: Collection[str]) -> str:
    """Return the options of these names, as a person writes them."""
    options = {action.dest: (*action.option_strings, str(action.metavar))[0] for action in parser._actions}
    return ", ".join(sorted(options[name] for name in names))


def refuse(parser: argparse.ArgumentParser, names: Collection[str], why: str) -> None:
    """Raise SettingsError for options that would be ignored, if there are any."""
    if names:
        raise SettingsError(f"{flags(parser, names)}: {why}")


def refuse_beside(
    parser: argparse.ArgumentParser, given: Collection[str], beside: Mapping[str, Collection[str]]
) -> None:
    """Raise SettingsError for what a job that is there already would ignore.

    `beside` has the options that name such a job, and what goes with each.
    """
    for start in beside.keys() & set(given):
        if others := set(given) - set(beside[start]) - {start}:
            raise SettingsError(f"--{start} excludes {flags(parser, others)}: what it names is there already")


def add_backend(to: argparse.ArgumentParser, *more: str) -> None:
    """Add --backend, with `more` names than those of this machine."""
    to.add_argument(
        "--backend",
        choices=(*backends.NAMES, *more),
        default="auto",
        help="where to run; auto: docker if an engine answers",
    )


def add_settings(to: argparse._ActionsContainer) -> None:
    """Add --settings, the file that `account_of` reads."""
    to.add_argument(
        "--settings", type=Path, default=settings.DEFAULT_FILE, metavar="FILE.toml", help="of the AWS account"
    )


def account_of(arguments: argparse.Namespace) -> Account:
    """Return the account of --settings, with --dry-run also one that is not known.

    Raises SettingsError naming each wrong key of the file.
    """
    guess = command_line.tell if getattr(arguments, "dry_run", False) else None
    return Account(settings.read(arguments.settings), guess=guess)


def add_training(
    to: argparse.ArgumentParser, *, image_flag: str = "--image", needs_data: bool = True
) -> None:
    """Add what a training job is made from."""
    to.add_argument(
        "--data", type=_folder, required=needs_data, metavar="FOLDER", help="has train/, valid/ and test/"
    )
    to.add_argument(
        "--pretrained", type=_folder, metavar="FOLDER", help="weight files, <backbone>*.pth or .safetensors"
    )
    to.add_argument(
        image_flag,
        dest="train_image",
        metavar="IMAGE",
        help=f"what to train in: a build of this project (default: {requests.TRAINING_IMAGE}; on AWS the "
        "settings')",
    )
    to.add_argument(
        "--output", type=Path, default=Path("runs"), help="the folder of all jobs", metavar="FOLDER"
    )
    to.add_argument("--job-name", type=named, metavar="NAME", help="default: a new one, with the time")
    to.add_argument(
        "--max-runtime",
        type=bounds.positive,
        metavar="SECONDS",
        help="the job is stopped then (default: a day)",
    )
    _add_resources(to)
    group = to.add_argument_group("hyperparameters (the trainer's defaults where nothing is given)")
    for name in FLAGS:
        group.add_argument(f"--{name}", metavar="VALUE")
    group.add_argument(
        "--set",
        type=_assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other; repeatable",
    )
    group.add_argument("--hyperparameters", type=Path, metavar="FILE.json", help="an object, name to value")


def _add_resources(to: argparse.ArgumentParser) -> None:
    """Add what a job is given to run with."""
    to.add_argument(
        "--checkpoints",
        type=_uri,
        metavar="FOLDER|URI",
        help="keeps the job's checkpoints; a job that finds some there continues from them",
    )
    to.add_argument(
        "--instances", type=bounds.positive, metavar="N", help="hosts that train together (default: 1)"
    )
    to.add_argument("--volume-gb", type=bounds.positive, metavar="N", help="an instance's disk")
    to.add_argument(
        "--input-mode",
        choices=requests.INPUT_MODES,
        help="File: an instance copies the data to its disk first (default); FastFile: it streams them. "
        "On this machine both read them where they lie",
    )


def add_debugging(to: argparse.ArgumentParser) -> None:
    """Add what the platform's Debugger is asked for; the job's own rules need none of it."""
    group = to.add_mutually_exclusive_group()
    group.add_argument(
        "--no-debug-hook",
        action="store_true",
        help="leave DebugHookConfig and ProfilerConfig out, for accounts that SageMaker Debugger refuses: "
        "the tensors then come with the job's other output, and the platform samples no system metrics",
    )
    group.add_argument(
        "--managed-rules",
        action="store_true",
        help="let SageMaker Debugger's own rules look at the job too: only for accounts that used them "
        f"before 2026-07-30. Tensors are saved whole for them, every {debugging.SAVE_INTERVAL} steps or "
        "debug-interval",
    )


def memory(text: str) -> str:
    """Read an amount of memory as the Docker engine takes it (an argparse type)."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)(?:b|([kmg])b?)?", text.lower())
    if parts is None or float(parts[1]) * 1024 ** " kmg".index(parts[2] or " ") < LEAST_MEMORY:
        raise argparse.ArgumentTypeError(f"{text!r} is no size from 6m on, such as 512m or 4g")
    return text


def named(text: str) -> str:
    """Read what something is called (an argparse type): an option with an empty name would not be heeded."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no name: is a variable of the shell not set?")
    return text


def place(text: str) -> str:
    """Read a place of this machine, or an s3:// URI with a bucket that may be (an argparse type)."""
    if text.startswith("s3://"):
        try:
            settings.bucket(text.split("/")[2])
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return text


def model(text: str) -> str:
    """Read a model: a file, a job's folder or name, or an archive's s3:// URI (an argparse type)."""
    if text.startswith("s3://") and not place(text).endswith(".tar.gz"):
        raise argparse.ArgumentTypeError(
            f"{text}: a model in S3 is one archive, such as s3://…/output/model.tar.gz; all those below a "
            "prefix are served with deploy.py --multi-model"
        )
    return text


def instance_type(text: str) -> str:
    """Read one of SageMaker's (an argparse type)."""
    if not re.fullmatch(settings.INSTANCE_TYPE, text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of SageMaker's, such as ml.m5.large")
    return text


def _uri(text: str) -> str:
    """Read a folder of this machine, or an s3:// or file:// URI, as a URI (an argparse type)."""
    if "://" not in place(text):
        return Path(text).resolve().as_uri()
    if not re.fullmatch(r"s3://[^/]+(/.*)?|file:///.*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a folder nor an s3:// or file:/// URI")
    return text


def _folder(text: str) -> Path | str:
    """Read a folder of this machine as a path, or an s3:// or file:// URI (an argparse type)."""
    return _uri(text) if "://" in text else Path(text)


def stage(text: str) -> tuple[str, float]:
    """Read NAME=SECONDS (an argparse type)."""
    name, seconds = _assignment(text)
    return name, bounds.real(0)(seconds)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def add_serving(to: argparse.ArgumentParser, *, image_flag: str = "--image") -> None:
    """Add what an endpoint is made from."""
    to.add_argument(
        image_flag,
        dest="serve_image",
        default=requests.SERVING_IMAGE,
        metavar="IMAGE",
        help="what to serve with",
    )
    to.add_argument(
        "--memory", type=memory, metavar="SIZE", help="limit of the endpoint's container, such as 4g"
    )
    to.add_argument("--cpus", type=bounds.real(0.01), metavar="N", help="limit of the endpoint's container")


def hyperparameters(arguments: argparse.Namespace) -> dict[str, Json]:
    """Return what was given: the file's, over them the flags', over them those of --set.

    Raises SettingsError for what the trainer would refuse.
    """
    values: dict[str, Json] = {}
    if arguments.hyperparameters:
        values |= read_object(arguments.hyperparameters, "hyperparameters")
    flags = {name: getattr(arguments, name.replace("-", "_")) for name in FLAGS}
    given = {name: text for name, text in flags.items() if text is not None} | dict(arguments.set)
    values |= {name: requests.number_or_text(text) for name, text in given.items()}
    hyperparameter_check.check(requests.encode_hyperparameters(values), arguments.train_image)
    return values


def read_object(file: Path, what: str) -> dict[str, Any]:
    """Read a JSON object from a file; raises SettingsError when it holds none."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"the {what} in {file} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f'{file} must hold one JSON object, such as {{"epochs": 3}}')
    return values


def training_request(arguments: argparse.Namespace, **changes: Any) -> Request:
    """Return the CreateTrainingJob request of a command line, with `changes` to what it is built from.

    Raises SettingsError, or DatasetError for pictures on this machine that cannot be trained on.
    """
    values = hyperparameters(arguments)
    if isinstance(arguments.data, Path):
        datasets.read_image_folder(arguments.data)
    channels = {"training": arguments.data, "pretrained": arguments.pretrained}
    given = {
        "max_runtime_seconds": arguments.max_runtime,
        "instance_count": arguments.instances,
        "volume_gb": arguments.volume_gb,
        "input_mode": arguments.input_mode,
        "checkpoints": arguments.checkpoints,
    }
    settings: dict[str, Any] = {
        "name": arguments.job_name or jobs.new_name(),
        "image": arguments.train_image or requests.TRAINING_IMAGE,
        "channels": {name: _uri(str(place)) for name, place in channels.items() if place},
        "hyperparameters": values,
        "metric_definitions": metric_definitions(),
        "output_uri": arguments.output.resolve().as_uri(),
        **{name: value for name, value in given.items() if value is not None},
    }
    return requests.validate("CreateTrainingJob", requests.training_job(**settings | changes))


def debugging_request(arguments: argparse.Namespace, output_uri: str, region: str = "") -> dict[str, Any]:
    """Return what a command line adds to a training request for the platform's Debugger.

    `region` is that of the managed rules; "" is the environment's. Raises SettingsError for managed rules
    without tensors, without a region, or in one that has none.
    """
    if arguments.no_debug_hook:
        return {}
    parts = debugging.debugging(
        hyperparameters(arguments),
        output_uri,
        managed_rules_in=(region or aws.region()) if arguments.managed_rules else None,
    )
    return {"debug_hook": parts.hook, "debug_rules": parts.rules, "profiler": parts.profiler}


def show(operations: Sequence[tuple[str, Request]]) -> None:
    """Print what --dry-run shows: one request as it is, or several by their operations' names.

    What they can cost on SageMaker goes to stderr.
    """
    content: Any = operations[0][1]
    if len(operations) > 1:
        by_name: dict[str, list[Request]] = {}
        for operation, request in operations:
            by_name.setdefault(operation, []).append(request)
        content = {name: each if len(each) > 1 else each[0] for name, each in by_name.items()}
    print(json.dumps(content, indent=2, ensure_ascii=False, default=_as_text))
    for line in costs.lines(operations, prices.read()):
        command_line.tell(line)


def _as_text(body: object) -> str:
    """Show what is sent in a request's body by its size: its media type stands beside it."""
    return f"{len(body):,} bytes" if isinstance(body, bytes) else str(body)
