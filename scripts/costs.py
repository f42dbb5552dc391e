#!/usr/bin/env python3
"""Say what things cost on SageMaker: prices, requests, endpoints, and what a job has cost.

  python scripts/costs.py                             # the prices, with their date and source
  python scripts/launch_training.py --backend aws --data s3://bucket/dogs --dry-run > job.json
  python scripts/costs.py --request job.json --minutes 20  # when a job, or each trial, takes so long
  python scripts/costs.py --job NAME                  # billed, and saved by spot instances
  python scripts/costs.py --endpoint NAME             # an hour and a month of what runs there now
  python scripts/costs.py --refresh --instance-type ml.g6.xlarge  # your region's prices, asked of AWS

Nothing is charged for by asking. Without --refresh, --job and --endpoint no credentials are needed.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from launcher import arguments as command
from launcher import bounds, charges, command_line, costs, prices
from launcher.errors import SettingsError


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_settings(parser)
    parser.add_argument("--prices", type=Path, default=prices.DEFAULT_FILE, metavar="FILE.toml")
    about = parser.add_mutually_exclusive_group()
    about.add_argument(
        "--request", type=command.named, metavar="FILE.json|-", help="what a --dry-run has printed"
    )
    about.add_argument("--job", type=command.named, metavar="NAME", help="a training job")
    about.add_argument("--endpoint", type=command.named, metavar="NAME", help="one that runs")
    about.add_argument(
        "--refresh", action="store_true", help="ask AWS for the instances' prices in the settings' region"
    )
    parser.add_argument(
        "--minutes",
        type=bounds.real(0.01),
        metavar="N",
        help="with --request: what a job, or each trial, takes",
    )
    parser.add_argument(
        "--instance-type",
        type=command.instance_type,
        action="append",
        default=[],
        metavar="TYPE",
        help="with --refresh: add; repeatable",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what AWS would be asked, and ask nothing"
    )
    found, given = command.parse_given(parser)
    for option, whose in (("minutes", "request"), ("instance_type", "refresh")):
        if whose not in given:
            command.refuse(parser, given & {option}, f"only with --{whose}")
    if found.job:
        command.refuse(parser, given & {"prices"}, "not with --job, which takes the price of its own region")
    if not (found.refresh or found.job or found.endpoint):
        command.refuse(
            parser, given & {"settings", "dry_run"}, "only --refresh, --job and --endpoint ask AWS"
        )
    return found


def main() -> int:
    """Answer what was asked."""
    arguments = parse_arguments()
    if arguments.dry_run:
        command.show(operations_of(arguments))
        return 0
    if arguments.refresh:
        region = command.account_of(arguments).region
        for missing in prices.refresh(arguments.prices, region, arguments.instance_type):
            command_line.tell(f"{missing} is not in AWS's price list for {region}")
    table = prices.read(arguments.prices)
    if arguments.request:
        tell_request(arguments.request, arguments.minutes, table)
    elif arguments.job:
        print(charges.of_job(command.account_of(arguments), arguments.job))
    elif arguments.endpoint:
        found = charges.of_endpoint(command.account_of(arguments), arguments.endpoint, table)
        print(*found, sep="\n")
    else:
        Console().print(prices.table(table))
    return 0


def operations_of(arguments: argparse.Namespace) -> costs.Operations:
    """Return what AWS would be asked."""
    if arguments.refresh:
        region = command.account_of(arguments).region
        asked = prices.requests(arguments.prices, region, arguments.instance_type)
        return [("GetProducts", request) for request in asked]
    if arguments.job:
        return [("DescribeTrainingJob", charges.job_request(arguments.job))]
    command_line.tell("and DescribeEndpointConfig, for the configuration that it has")
    return [("DescribeEndpoint", charges.endpoint_request(arguments.endpoint))]


def tell_request(file: str, minutes: float | None, table: prices.Prices) -> None:
    """Print what requests cost at most, and what they are expected to when a run takes so many minutes."""
    content = command.read_object(Path("/dev/stdin" if file == "-" else file), "request")
    operations = costs.operations_of(content)
    costs.check(operations)
    try:
        lines, found = costs.lines(operations, table), costs.of(operations, table)
    except KeyError as missing:  # the API takes a request without it
        raise SettingsError(f"what this costs depends on {missing}, which it does not have") from None
    names = ", ".join(sorted({name for name, _ in operations}))
    print("\n".join(lines) or f"nothing that is known to be charged for by itself: {names}")
    for each in found if minutes else []:
        if (expected := each.expected(minutes or 0)) is not None:
            print(f"expected of {each.what}: {costs.money(expected)} when it runs {minutes:g} minutes")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
