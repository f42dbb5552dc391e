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
import os
import sys

from launcher import arguments as command
from launcher import (
    aws_search,
    backends,
    command_line,
    local_search,
    search_arguments,
    search_results,
    tuning_request,
)
from launcher.aws_search import AwsSearch
from launcher.errors import SettingsError


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
        request = search_arguments.request_of(arguments, command_line.tell)
        command.show([(tuning_request.OPERATION, request)])
    elif arguments.backend == search_arguments.AWS:
        search_on_aws(arguments)
    else:
        search_here(arguments)
    return 0


def search_here(arguments: argparse.Namespace) -> None:
    """Carry the request out on this machine, or take part in a search that was begun."""
    if arguments.stop:
        raise SettingsError("--stop is for --backend aws: a search on this machine ends with Ctrl-C")
    say, runs = command_line.tell, arguments.output
    storage = search_arguments.storage_of(arguments, os.environ)
    backend = backends.choose(arguments.backend, say)
    if arguments.attach:
        study, folder = local_search.attach(arguments.attach, runs, storage)
    else:
        request = search_arguments.request_of(arguments, say)
        backend.check(request["TrainingJobDefinition"])
        study, folder = local_search.begin(request, runs, storage, say)
    local_search.run(study, backend, folder, say)


def search_on_aws(arguments: argparse.Namespace) -> None:
    """Send the request, or find a search that runs there; follow or stop it."""
    say = command_line.tell
    account = command.account_of(arguments)
    if arguments.stop:
        ended = AwsSearch(arguments.stop, account, say).stop()
        how = f"it had ended already: {ended}" if ended else "stopping"
        say(f"{how}; --attach {arguments.stop} shows what it has found")
        return
    request = None if arguments.attach else search_arguments.request_of(arguments, say)
    search = AwsSearch(request["HyperParameterTuningJobName"] if request else arguments.attach, account, say)
    with search.mentioned():
        if request is None:
            folder = search_results.folder_of(arguments.output, search.request)
        else:
            with search_results.new_folder(arguments.output, request) as folder:
                search.start(request)
        aws_search.follow(search, folder, say)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
