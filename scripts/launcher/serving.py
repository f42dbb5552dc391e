"""Endpoints from their options: here for as long as they are wanted, or on SageMaker until removed.

Called by deploy.py and by the notebook.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher import arguments, backends, deployment, endpoint_requests, model_source, serving_arguments
from launcher.account import Account
from launcher.aws_endpoint import AwsEndpoint, Description
from launcher.deployment import Deployment
from launcher.endpoint_requests import ONLY_VARIANT
from launcher.hosting import RunningEndpoint
from launcher.model_source import ModelSource
from launcher.requests import Request
from launcher.serving_arguments import AWS

Say = Callable[[str], None]
OPERATIONS = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")  # of an endpoint on this machine


@dataclass(frozen=True)
class Deployed:
    """What answers: `asked` are the options by which invoke.py finds it, or compares its two variants."""

    asked: Mapping[str, object]
    remove: Callable[[], None]


def deploy(given: argparse.Namespace, say: Say) -> Deployed:
    """Serve the models of the options until `remove` is called; here at ports that are free.

    Raises EndpointFailed, SettingsError, WorkFailed, and as AWS refuses or cannot be reached.
    """
    if given.backend == AWS:
        endpoint, _ = on_aws(given, say)
        both = tuple(each.name for each in given.variant or [])
        return Deployed({"endpoint_name": endpoint.name, "compare": both or None}, endpoint.delete)
    free = argparse.Namespace(**vars(given) | {"port": 0})
    with ExitStack() as stack:
        running = stack.enter_context(here(free, say))
        urls = tuple(each.url for each in running.values())
        return Deployed({"compare": urls} if given.variant else {"url": urls[0]}, stack.pop_all().close)
    raise AssertionError("an ExitStack hides no error")


# ── on this machine ───────────────────────────────────────────────────────────────────────────────────


def requests_here(given: argparse.Namespace) -> dict[str, tuple[Request, Request, Request]]:
    """Return what each variant's endpoint is made of: here every one has an endpoint of its own."""
    return {
        each.name: endpoint_requests.on_this_machine(
            given.serve_image, model_source.archive_of(Path(each.model)), _name(given, each.name)
        )
        for each in serving_arguments.variants(given)
    }


def _name(given: argparse.Namespace, variant: str) -> str | None:
    if variant == ONLY_VARIANT:
        return given.name and str(given.name)
    return f"{given.name or 'dog-breeds'}-{variant}"


@contextmanager
def here(given: argparse.Namespace, say: Say) -> Iterator[Mapping[str, RunningEndpoint]]:
    """Serve every variant at a port of its own for as long as the context lasts; `say` gets their logs."""
    backend = backends.choose(given.backend, say, memory=given.memory, cpus=given.cpus)
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                backend.deploy(*requests, port=given.port and given.port + place, on_line=say)
            )
            for place, (name, requests) in enumerate(requests_here(given).items())
        }


# ── on SageMaker ──────────────────────────────────────────────────────────────────────────────────────


def plan(given: argparse.Namespace, account: Account, say: Say, *, send: bool) -> Deployment:
    """Return all requests of a deployment; with `send` models of this machine are brought to S3."""
    source = ModelSource(account, say, send=send)
    archives = {model: source.uri(model) for model in serving_arguments.models(given)}
    return deployment.plan(given, account, archives)


def on_aws(given: argparse.Namespace, say: Say) -> tuple[AwsEndpoint, Description]:
    """Make or update an endpoint, and wait until it answers."""
    account = arguments.account_of(given)
    wanted = plan(given, account, say, send=True)
    endpoint = AwsEndpoint(deployment.name_of(given, account), account, say)
    return endpoint, endpoint.deploy(wanted)
