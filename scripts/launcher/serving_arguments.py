"""The command line of an endpoint, and what of it goes together.

Called by deploy.py, `serving`, and for its options by the notebook.
"""

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launcher import arguments, bounds, schedules
from launcher.endpoint_requests import ONLY_VARIANT
from launcher.errors import SettingsError
from launcher.model_source import ARCHIVE
from launcher.scaling_requests import Schedule
from launcher.settings import INSTANCE_TYPE

AWS = "aws"  # the backend that is no process of this machine
_PERCENT = bounds.whole(1, 100)
_HERE = {"port", "memory", "cpus"}
_EVERYWHERE = {"backend", "model", "serve_image", "dry_run", "name", "variant"}
_SCALING = {"scale_invocations", "scale_cpu", "scale_backlog", "schedule"}
_SHIFTING = {"canary", "linear", "rollback_on"}
# What each of these excludes, by what the platform does not do.
_EXCLUDED = {
    "serverless": {
        "asynchronous",
        "multi_model",
        "variant",
        "shadow",
        "capture",
        "instance_type",
        "instances",
    }
    | _SCALING
    | _SHIFTING,
    "asynchronous": {"multi_model", "variant", "shadow", "capture"},
    "multi_model": {"model", "variant", "shadow"},
    "variant": {"model"},
}
# What goes with these, whose endpoint is there already.
_BESIDE = {
    "delete": {"backend", "settings", "dry_run"},
    "attach": {"backend", "settings", "dry_run"} | _SCALING,
}


@dataclass(frozen=True)
class Named:
    """A variant: its name, where its model is, its share of the requests among those of all, its machines."""

    name: str
    model: str
    weight: float = 1.0
    instance_type: str = ""  # "" is that of all


def add(to: argparse.ArgumentParser) -> None:
    """Add what an endpoint is made from."""
    arguments.add_backend(to, AWS)
    arguments.add_serving(to)
    to.add_argument("--model", type=arguments.model, default=f"runs/latest/{ARCHIVE}", help="what to serve")
    to.add_argument(
        "--port",
        type=bounds.port,
        default=8080,
        help="on 127.0.0.1, of the first variant; 0 takes any that is free",
    )
    arguments.add_settings(to)
    group = to.add_argument_group("on SageMaker (--backend aws)")
    group.add_argument(
        "--name",
        type=arguments.named,
        help="of the endpoint; one that is there is updated (default: the project's)",
    )
    group.add_argument(
        "--version",
        type=arguments.named,
        metavar="TEXT",
        help="ends the names of what is made (default: the time)",
    )
    group.add_argument(
        "--instance-type", type=arguments.instance_type, metavar="TYPE", help="(default: the settings')"
    )
    group.add_argument("--instances", type=bounds.positive, metavar="N", help="(default: the settings')")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--serverless", action="store_true", help="nothing runs while nobody asks")
    kind.add_argument(
        "--async",
        dest="asynchronous",
        action="store_true",
        help="requests wait in a queue, answers are in S3",
    )
    group.add_argument(
        "--multi-model",
        type=_prefix,
        metavar="s3://PREFIX/",
        help="serve every archive below it, as each request names it",
    )
    group.add_argument(
        "--variant",
        type=variant,
        action="append",
        metavar="NAME=MODEL[:WEIGHT][@TYPE]",
        help="several share the requests by their weights, each on its machines; "
        "here each has a port of its own; repeatable",
    )
    group.add_argument(
        "--shadow",
        type=variant,
        metavar="NAME=MODEL[:WEIGHT][@TYPE]",
        help="gets a copy of the requests; its answers only go to --capture",
    )
    group.add_argument("--capture", type=_PERCENT, metavar="PERCENT", help="keep so many requests in S3")
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--attach",
        type=arguments.named,
        metavar="NAME",
        help="wait for an endpoint that is being made or changed",
    )
    start.add_argument(
        "--delete", type=arguments.named, metavar="NAME", help="remove an endpoint and what was made for it"
    )
    _add_shifting(to)
    _add_scaling(to)


def _add_shifting(to: argparse.ArgumentParser) -> None:
    """Add how an update changes over."""
    group = to.add_argument_group("an update's traffic (all at once, unless; with --rollback-on)")
    how = group.add_mutually_exclusive_group()
    how.add_argument(
        "--canary", type=_PERCENT, metavar="PERCENT", help="1 to 50 first, then the rest; with --rollback-on"
    )
    how.add_argument("--linear", type=_PERCENT, metavar="PERCENT", help="10 to 50 at each step")
    group.add_argument(
        "--rollback-on",
        type=arguments.named,
        action="append",
        metavar="ALARM",
        help="the old instances take over again when this CloudWatch alarm goes off; repeatable",
    )


def _add_scaling(to: argparse.ArgumentParser) -> None:
    """Add how the number of instances follows the load."""
    group = to.add_argument_group("scaling of each variant (what is not given is ended by an update)")
    group.add_argument(
        "--scale-invocations", type=bounds.positive, metavar="N", help="a minute for each instance"
    )
    group.add_argument("--scale-cpu", type=_PERCENT, metavar="PERCENT", help="of all its processors")
    group.add_argument(
        "--scale-backlog",
        type=bounds.positive,
        metavar="N",
        help="requests waiting for each instance of an asynchronous endpoint; down to no instance at all",
    )
    group.add_argument(
        "--schedule",
        type=schedule,
        action="append",
        metavar="NAME=MIN-MAX@WHEN",
        help="other limits from a time on, such as 'day=2-8@cron(0 7 ? * MON-FRI *)'; repeatable",
    )


def parse(parser: argparse.ArgumentParser, line: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; raises SettingsError for options that do not go together."""
    found, given = arguments.parse_given(parser, line)
    if found.backend != AWS:
        others = given - _HERE - _EVERYWHERE
        arguments.refuse(parser, others, f"only with --backend {AWS}")
        if any(each.weight != 1 or each.instance_type for each in found.variant or []):
            raise SettingsError(
                f"--variant: weights and instance types are for --backend {AWS}; "
                "here each variant has a port of its own"
            )
    else:
        _refuse(parser, f"--backend {AWS}", given & _HERE)
    for start in _BESIDE.keys() & given:
        _refuse(parser, f"--{start}", given - _BESIDE[start] - {start})
    for name in _EXCLUDED.keys() & given:
        _refuse(parser, arguments.flags(parser, [name]), given & _EXCLUDED[name])
    _check(found)
    if found.backend == AWS and "serve_image" not in given:
        found.serve_image = None  # the account's own
    return found


def options(**named: object) -> argparse.Namespace:
    """Return the options of an endpoint, as deploy.py reads them (`arguments.read`)."""
    return arguments.read(add, parse, **named)


def _refuse(parser: argparse.ArgumentParser, what: str, others: set[str]) -> None:
    if others:
        raise SettingsError(f"{what} and {arguments.flags(parser, others)} do not go together")


def _check(given: argparse.Namespace) -> None:
    """Raise SettingsError for values that the platform would refuse."""
    if given.canary and given.canary > 50:
        raise SettingsError("--canary: 50 percent at most")
    if given.linear and not 10 <= given.linear <= 50:
        raise SettingsError("--linear: 10 to 50 percent")
    if (given.canary or given.linear) and not given.rollback_on:
        raise SettingsError(
            "--canary and --linear need --rollback-on ALARM: nothing else takes an update back "
            "(monitor.py makes alarms and prints their names)"
        )
    if given.scale_backlog and not (given.asynchronous or given.attach):
        raise SettingsError("--scale-backlog is for --async: nothing waits at another endpoint")
    if given.shadow and len(given.variant or []) > 1:
        raise SettingsError("--shadow: of one variant; there are several")
    if not any(each.weight for each in variants(given)):
        raise SettingsError("--variant: all weights are 0, so none would get a request: NAME=MODEL:1, say")
    names = [each.name for each in [*(given.variant or []), *([given.shadow] if given.shadow else [])]]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f"there are two variants {', '.join(sorted(twice))}")
    names = [each.name for each in given.schedule or []]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f"--schedule: {', '.join(sorted(twice))} is there twice; the last would win")


def variants(given: argparse.Namespace) -> list[Named]:
    """Return the variants that answer; the only one has the platform's usual name."""
    return given.variant or [Named(ONLY_VARIANT, given.multi_model or given.model)]


def models(given: argparse.Namespace) -> set[str]:
    """Return where the models of all variants are to come from."""
    return {each.model for each in [*variants(given), *([given.shadow] if given.shadow else [])]}


def variant(text: str) -> Named:
    """Read NAME=MODEL[:WEIGHT][@TYPE] (an argparse type)."""
    found = re.fullmatch(rf"([A-Za-z0-9](?:-?[A-Za-z0-9])*)=(.+?)(?:@({INSTANCE_TYPE}))?", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=MODEL or NAME=MODEL:WEIGHT")
    model, _, last = found[2].rpartition(":")
    weight = _number(last)
    if not model or weight is None:
        return Named(found[1], arguments.model(found[2]), instance_type=found[3] or "")
    if not 0 <= weight < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: the weight {last} is not 0 or more")
    return Named(found[1], arguments.model(model), weight, found[3] or "")


def _prefix(text: str) -> str:
    """Read a prefix of S3 (an argparse type)."""
    if not re.fullmatch(r"s3://[^/]+/(.+/)?", arguments.place(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no prefix that ends with a slash: s3://bucket/models/")
    return text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def schedule(text: str) -> Schedule:
    """Read NAME=MIN-MAX@WHEN (an argparse type)."""
    found = re.fullmatch(r"([^=:/|]+)=(\d+)-(\d+)@(.+)", text)
    if found is None or int(found[2]) > int(found[3]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form NAME=MIN-MAX@cron(…), at(…) or rate(…)"
        )
    if fault := schedules.fault(found[4]):
        raise argparse.ArgumentTypeError(f"{text!r}: {fault}")
    return Schedule(found[1], int(found[2]), int(found[3]), found[4])


def scaling(given: argparse.Namespace) -> dict[str, Any]:
    """Return what of the scaling is given, by its option's name."""
    return {name: getattr(given, name) for name in sorted(_SCALING) if getattr(given, name)}
