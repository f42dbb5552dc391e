#!/usr/bin/env python3
"""Watch an endpoint on SageMaker: a dashboard, alarms by mail, questions to its log, drift of its answers.

  python scripts/monitor.py --email you@example.com        # dashboard and alarms of the project's endpoint
  python scripts/monitor.py --open                         # where the dashboard is
  python scripts/monitor.py --logs errors --hours 6        # or slow, or latency
  python scripts/monitor.py --drift --training runs/latest # of what deploy.py --capture has kept, as a plot
  python scripts/monitor.py --email you@example.com --dry-run

What is there already is brought up to date. Exit codes: 0 done, and no drift; 3 the answers have drifted;
1 it could not be done, 2 a setting is wrong.
"""

import argparse
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.table import Table

from launcher import (
    alarms,
    aws,
    bounds,
    captured,
    command_line,
    costs,
    dashboard,
    drift,
    job_output,
    log_queries,
    plain_text,
)
from launcher import arguments as command
from launcher.account import Account
from launcher.calls import Call
from launcher.command_line import tell
from launcher.endpoint_requests import ONLY_VARIANT
from launcher.errors import SettingsError, WorkFailed
from launcher.plain_text import cell
from launcher.s3 import Prefix

DRIFTED = 3
# What CloudWatch charges beyond three dashboards and ten alarms, in most regions (its page of prices, 2026).
DASHBOARD_MONTH, ALARM_MONTH = 3.0, 0.1
LONGEST_HOURS = 10 * 366 * 24  # ten years: the longest that a log can be kept for
LOOKING = {  # what takes which options of its own; without any of them the dashboard and the alarms are made
    "open": set[str](),
    "logs": {"hours"},
    "drift": {"hours", "training", "captured", "plot"},
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_settings(parser)
    parser.add_argument("--endpoint", type=command.named, metavar="NAME", help="default: the project's")
    parser.add_argument(
        "--hours",
        type=bounds.real(0.01, LONGEST_HOURS),
        default=24,
        help="how far --logs and --drift look back",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--open", action="store_true", help="print the dashboard's link, and show it in a browser"
    )
    what.add_argument("--logs", choices=list(log_queries.QUERIES), help="ask the endpoint's log")
    what.add_argument("--drift", action="store_true", help="compare captured answers with the training data")
    made = parser.add_argument_group("dashboard and alarms")
    made.add_argument(
        "--job", type=command.named, metavar="NAME", help="of a training job: its metrics are shown, too"
    )
    made.add_argument("--email", type=alarms.address, metavar="ADDRESS", help="whom the alarms tell")
    made.add_argument(
        "--slow-ms", type=bounds.positive, default=1000, metavar="N", help="when an answer is late"
    )
    made.add_argument(
        "--variant",
        type=command.named,
        action="append",
        metavar="NAME",
        help="to have alarms; repeatable; default: all that it has",
    )
    drifted = parser.add_argument_group("drift")
    drifted.add_argument(
        "--training", type=command.place, metavar="FOLDER|s3://…", default="runs/latest", help="the job's"
    )
    drifted.add_argument(
        "--captured", type=command.place, metavar="s3://…", help="default: captured/<endpoint> in the bucket"
    )
    drifted.add_argument("--plot", type=Path, metavar="FILE.png", default=Path("runs/drift.png"))
    parser.add_argument("--dry-run", action="store_true", help="print the requests and do nothing")
    found, given = command.parse_given(parser)
    refuse_ignored(parser, given)
    return found


def refuse_ignored(parser: argparse.ArgumentParser, given: set[str]) -> None:
    """Raise SettingsError for options that would be ignored."""
    for look in LOOKING.keys() & given:
        others = given - LOOKING[look] - {look, "settings", "endpoint"}
        command.refuse(parser, others, f"not with --{look}, which only looks")
    if not LOOKING.keys() & given:
        command.refuse(parser, given & set().union(*LOOKING.values()), "only --logs and --drift look back")


def main() -> int:
    """Do what is asked for; without anything, make the dashboard and the alarms."""
    arguments = parse_arguments()
    account = command.account_of(arguments)
    endpoint = arguments.endpoint or account.settings.project
    if arguments.open:
        return show_link(account, endpoint)
    if arguments.logs:
        return show_log(account, endpoint, arguments)
    if arguments.drift:
        return show_drift(account, endpoint, arguments)
    return watch(account, endpoint, arguments)


def watch(account: Account, endpoint: str, arguments: argparse.Namespace) -> int:
    """Make the dashboard, the topic and the alarms, or bring them up to date."""
    variants = arguments.variant or ([ONLY_VARIANT] if arguments.dry_run else variants_of(account, endpoint))
    board = dashboard.dashboard(account, endpoint, arguments.job)
    topic = alarms.topic(account)
    arn = account.arn("sns", topic["Name"])
    wanted = alarms.alarms(account, endpoint, variants, topic_arn=arn, slow_ms=arguments.slow_ms)
    mail = alarms.subscription(arn, arguments.email) if arguments.email else None
    calls = [Call("cloudwatch", "PutDashboard", board), Call("sns", "CreateTopic", topic)]
    calls += [Call("sns", "Subscribe", mail)] if mail else []
    calls += [Call("cloudwatch", "PutMetricAlarm", each) for each in wanted]
    if arguments.dry_run:
        return show_requests(calls, endpoint, named=bool(arguments.variant))
    with mentioned():
        for each in calls:
            each.send(account)
        if not arguments.variant:
            forget(account, endpoint, variants)
    if mail:
        tell(f"{arguments.email} gets a mail, whose link has to be followed before alarms arrive")
    else:
        tell("the alarms tell nobody yet: --email")
    print(dashboard.link(account, endpoint))
    for each in wanted:
        print(each["AlarmName"])
    return 0


def show_requests(calls: list[Call], endpoint: str, *, named: bool) -> int:
    """Print what would be sent; say which variants are looked up, unless `named`, and what it costs."""
    command.show([each.shown for each in calls])
    if not named:
        tell(f"the variants of {endpoint} are asked for when it is done: {ONLY_VARIANT} stands for each")
    count = sum(each.operation == "PutMetricAlarm" for each in calls)
    cost = costs.money(DASHBOARD_MONTH + ALARM_MONTH * count)
    tell(f"cost of a dashboard and {count} alarms: {cost} a month at most, until teardown.py takes them away")
    return 0


@contextmanager
def mentioned() -> Iterator[None]:
    """Say of whatever ends the making early what goes on with it, and what takes it away."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
        again = "the same command goes on, teardown.py takes them away"
        ending.add_note(f"some of the dashboard and the alarms may be there, and cost: {again}")
        raise


def forget(account: Account, endpoint: str, variants: list[str]) -> None:
    """Remove the alarms of variants that are gone: silence is no trouble to them, but each costs."""
    if stale := alarms.stale(account, endpoint, variants):
        Call("cloudwatch", "DeleteAlarms", {"AlarmNames": stale}).send(account)
        tell(f"of variants that {endpoint} no longer has, removed: {', '.join(stale)}")


def variants_of(account: Account, endpoint: str) -> list[str]:
    """Return the variants of an endpoint; SettingsError where there is none."""
    with aws.explained(
        missing=f"there is no endpoint {endpoint} in this account and region: deploy.py makes one"
    ):
        described = account.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    return [each["VariantName"] for each in described["ProductionVariants"]]


def show_link(account: Account, endpoint: str) -> int:
    """Print where the dashboard is, and show it where there is a screen."""
    link = dashboard.link(account, endpoint)
    print(link)
    if command_line.has_screen():
        webbrowser.open(link)
    return 0


def show_log(account: Account, endpoint: str, arguments: argparse.Namespace) -> int:
    """Print what the log answers, as a table."""
    rows = log_queries.ask(account, endpoint, arguments.logs, hours=arguments.hours)
    if not rows:
        print(f"nothing in the last {arguments.hours:g} hours")
        return 0
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(cell(row.get(name, "")) for name in rows[0]))
    command_line.page().print(table)
    return 0


def show_drift(account: Account, endpoint: str, arguments: argparse.Namespace) -> int:
    """Say whether the answers have drifted from the training data, and draw it."""
    data = job_output.find(
        arguments.training, Path("runs/analysis", job_output.name_of(arguments.training))
    ).data
    if data is None:
        raise SettingsError(f"{arguments.training} has no classes.csv: it is a trial of smdebug, not a job")
    training = drift.training_counts(data / "classes.csv")
    place = Prefix(arguments.captured or account.uri("captured", endpoint), account.client("s3"))
    since = datetime.now(UTC) - timedelta(hours=arguments.hours)
    found = drift.measure(training, captured.predicted(place, since=since))
    if found.unknown:
        tell(
            f"{found.unknown:,} predictions are of no class of {arguments.training}: is it this model's job?"
        )
    print(plain_text.lines(found))
    if found.predictions:
        drift.plot(found, arguments.plot)
        print(arguments.plot)
    return DRIFTED if found.drifted else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
