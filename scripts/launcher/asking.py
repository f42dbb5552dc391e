"""Endpoints asked about files, from the options of invoke.py. Called by it and by the notebook."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from launcher import asking_arguments, command_line, comparison
from launcher.asked_files import AskedFiles
from launcher.comparison import Result
from launcher.predictions import Prediction
from launcher.sagemaker_endpoint import Operations


def ask(given: argparse.Namespace) -> list[Prediction]:
    """Ask one endpoint about all files; raises SettingsError, NoAnswer."""
    with _files(given) as asked:
        files = asked.files()  # what is not there is said before anybody is asked
        with asking_arguments.client_of(given) as client:
            replies = command_line.progress(
                client.predict_all(files, given.clients), total=len(files), what="asking the endpoint"
            )
            return [asked.named(answer) for answer in chain.from_iterable(replies)]


def operations(given: argparse.Namespace) -> Operations:
    """Return all requests to SageMaker that the question consists of."""
    with _files(given) as asked:
        operations = asking_arguments.operations_of(given, asked)
    if given.compare:
        command_line.tell("not looked at yet: whether both have a class for each folder; their answers tell")
    return operations


def compare(given: argparse.Namespace) -> Result:
    """Ask two about the same labelled pictures; raises SettingsError, NoAnswer."""
    with _files(given) as asked:
        classes = asked.classes()
        first, second = asking_arguments.both_of(given)
        with first, second:
            asking = comparison.ask(first, second, classes, given.clients)
            pairs = [*command_line.progress(asking, total=len(classes), what="asking both")]
    return comparison.result(tuple(given.compare), pairs)


@contextmanager
def _files(given: argparse.Namespace) -> Iterator[AskedFiles]:
    """Have those of S3 here for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="dog-breeds-") as scratch:
        yield AskedFiles(given.paths, Path(scratch))
