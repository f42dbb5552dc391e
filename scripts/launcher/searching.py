"""A search for hyperparameters from its options to what it leaves, here or on SageMaker.

Called by launch_hpo.py and by the notebook. On SageMaker the search runs on whatever ends the following.
"""

import argparse
import os
from pathlib import Path

from launcher import (
    arguments,
    aws_search,
    backends,
    local_search,
    search_arguments,
    search_results,
)
from launcher.aws_arguments import AWS
from launcher.aws_search import AwsSearch
from launcher.local_search import Say


def run(given: argparse.Namespace, say: Say) -> Path:
    """Begin the search of the options, or go on with one, and print its table; returns its folder.

    Raises WorkFailed when no trial succeeded, SettingsError, and as AWS refuses or cannot be reached.
    """
    return _on_aws(given, say) if given.backend == AWS else _here(given, say)


def _here(given: argparse.Namespace, say: Say) -> Path:
    runs: Path = given.output
    storage = search_arguments.storage_of(given, os.environ)
    backend = backends.choose(given.backend, say)
    if given.attach:
        study, folder = local_search.attach(given.attach, runs, storage)
    else:
        request = search_arguments.request_of(given, say)
        backend.check(request["TrainingJobDefinition"])
        study, folder = local_search.begin(request, runs, storage, say)
    local_search.run(study, backend, folder, say)
    return folder


def _on_aws(given: argparse.Namespace, say: Say) -> Path:
    request = None if given.attach else search_arguments.request_of(given, say)
    name = request["HyperParameterTuningJobName"] if request else given.attach
    search = AwsSearch(name, arguments.account_of(given), say)
    with search.mentioned():
        if request is None:
            folder = search_results.folder_of(given.output, search.request)
        else:
            with search_results.new_folder(given.output, request) as folder:
                search.start(request)
        aws_search.follow(search, folder, say)
    return folder


def stop(given: argparse.Namespace, say: Say) -> None:
    """Stop the search on SageMaker that the options name."""
    ended = AwsSearch(given.stop, arguments.account_of(given), say).stop()
    how = f"it had ended already: {ended}" if ended else "stopping"
    say(f"{how}; --attach {given.stop} shows what it has found")
