#!/usr/bin/env python3
"""Search hyperparameters: build the CreateHyperParameterTuningJob request and carry it out.

  python scripts/launch_hpo.py --data ../dogs --backbone efficientnet_lite0
  python scripts/launch_hpo.py --attach dog-breeds-20261123-101500-ab12     # after Ctrl-C or a crash
  python scripts/launch_hpo.py --data ../dogs --warm-start dog-breeds-20261123-101500-ab12
  python scripts/launch_hpo.py --request runs/NAME/request.json --job-name again  # the same search once more
  python scripts/launch_hpo.py --request request.json --storage postgresql+psycopg://host/searches
  python scripts/launch_hpo.py --backend aws --data s3://bucket/data/dogs --backbone efficientnet_lite0
  python scripts/launch_hpo.py --data ../dogs --dry-run

What is searched is in config/hpo.toml; a hyperparameter that is given here is not searched. The search has
a folder below --output: request.json, a folder for each trial, trials.csv, best.json for launch_training.py
--hyperparameters, report.html and its plots. Progress goes to stderr, the table of trials to stdout.
Exit codes: 0 done; 1 no trial succeeded; 2 a setting is wrong; 130 after Ctrl-C: --attach goes on.
"""

import argparse
import sys

from launcher import arguments as command
from launcher import command_line, search_arguments


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    search_arguments.add(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the request and do nothing")
    return search_arguments.parse(parser)


def main() -> int:
    """Search; print the table of trials and where the best one is."""
    arguments = parse_arguments()
    if arguments.dry_run:
        command.show([search_arguments.operation_of(arguments, command_line.tell)])
        return 0
    from launcher import searching  # noqa: PLC0415 - optuna, matplotlib, scipy: seconds, of every --help

    if arguments.stop:
        searching.stop(arguments, command_line.tell)
    else:
        searching.run(arguments, command_line.tell)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
