"""The command line of a question to an endpoint, and which endpoint it asks.

Called by invoke.py, `asking`, and for its options by the notebook.
"""

import argparse
from collections.abc import Sequence

from launcher import arguments, bounds, comparison, predictions
from launcher.asked_files import AskedFiles
from launcher.endpoint import Client, EndpointClient
from launcher.errors import SettingsError
from launcher.pictures import readable
from launcher.sagemaker_endpoint import AsyncClient, Operations, SageMakerClient

_ON_SAGEMAKER = {"variant", "target_model", "asynchronous", "settings", "dry_run"}
_EXCLUDED = {
    "asynchronous": {"variant", "target_model", "compare"},
    "compare": {"variant", "url", "top_k", "latency"},
}


def add(to: argparse.ArgumentParser) -> None:
    """Add what is asked, and what names an endpoint, or two."""
    to.add_argument(
        "paths",
        type=arguments.place,
        nargs="+",
        metavar="FILE|FOLDER|s3://…",
        help="folders and prefixes are searched",
    )
    which = to.add_mutually_exclusive_group()
    which.add_argument("--url", default="http://127.0.0.1:8080", help="the endpoint")
    which.add_argument(
        "--endpoint-name", type=arguments.named, metavar="NAME", help="one of SageMaker's endpoints instead"
    )
    arguments.add_settings(to)
    to.add_argument(
        "--variant", type=arguments.named, metavar="NAME", help="ask this one of the endpoint's variants"
    )
    to.add_argument(
        "--target-model",
        type=arguments.named,
        metavar="FILE",
        help="an archive below a multi-model endpoint's prefix",
    )
    to.add_argument(
        "--async", dest="asynchronous", action="store_true", help="the endpoint is one that answers in S3"
    )
    to.add_argument(
        "--compare",
        type=arguments.named,
        nargs=2,
        metavar=("A", "B"),
        help="two variants of --endpoint-name, or two URLs: which is right more often, and which is faster?",
    )
    to.add_argument("--dry-run", action="store_true", help="print the requests to SageMaker and ask nothing")
    to.add_argument("--top-k", type=int, choices=range(1, 6), default=5, help="how many breeds to show")
    to.add_argument("--format", choices=predictions.FORMATS, default="table", help="how to show them")
    to.add_argument("--clients", type=bounds.positive, default=4, metavar="N", help="requests at a time")
    to.add_argument("--latency", action="store_true", help="say on stderr how long the answers took")


def parse(parser: argparse.ArgumentParser, line: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; raises SettingsError for options that do not go together."""
    found, given = arguments.parse_given(parser, line, needed=["."])
    if not found.endpoint_name:
        arguments.refuse(parser, given & _ON_SAGEMAKER, "only with --endpoint-name")
    for name in _EXCLUDED.keys() & given:
        if others := given & _EXCLUDED[name]:
            both = f"{arguments.flags(parser, [name])} and {arguments.flags(parser, others)}"
            raise SettingsError(f"{both} do not go together")
    if found.compare and len(set(found.compare)) == 1:
        raise SettingsError(f"--compare: {found.compare[0]} is named twice; name two that differ")
    if found.compare and found.format not in comparison.FORMATS:
        raise SettingsError(f"--compare has no --format {found.format}: {' or '.join(comparison.FORMATS)}")
    return found


def options(*paths: object, **named: object) -> argparse.Namespace:
    """Return the options of a question, as invoke.py reads them (`arguments.read`)."""
    return arguments.read(add, parse, *paths, **named)


def operations_of(given: argparse.Namespace, asked: AskedFiles) -> Operations:
    """Return all requests to SageMaker of a command line."""
    clients = [_on_sagemaker(given, each) for each in given.compare] if given.compare else [_client(given)]
    files = asked.classes() if given.compare else asked.files()
    return [
        operation for file in files for client in clients for operation in client.operations(*readable(file))
    ]


def client_of(given: argparse.Namespace) -> Client:
    """Return a client of the endpoint; raises SettingsError where none is at the URL."""
    if not given.endpoint_name:
        return EndpointClient.connect(given.url)
    return _client(given)


def _client(given: argparse.Namespace) -> SageMakerClient | AsyncClient:
    if given.asynchronous:
        return AsyncClient(given.endpoint_name, arguments.account_of(given))
    return _on_sagemaker(given, given.variant or "")


def both_of(given: argparse.Namespace) -> tuple[Client, Client]:
    """Return clients of the two that are compared."""
    a, b = given.compare
    if given.endpoint_name:
        return _on_sagemaker(given, a), _on_sagemaker(given, b)
    return EndpointClient.connect(a), EndpointClient.connect(b)


def _on_sagemaker(given: argparse.Namespace, variant: str) -> SageMakerClient:
    runtime = arguments.account_of(given).client("sagemaker-runtime")
    return SageMakerClient(given.endpoint_name, runtime, variant, given.target_model or "")
