#!/usr/bin/env python3
"""Serve a model: on this machine until Ctrl-C, or with --backend aws on SageMaker until it is deleted.

  python scripts/deploy.py
  python scripts/deploy.py --model runs/dog-breeds-…/output/model.tar.gz --port 0 --memory 2g --cpus 2
  python scripts/deploy.py --backend aws --model runs/latest --capture 10 --scale-invocations 600
  python scripts/deploy.py --backend aws --variant A=runs/old:9 --variant B=dog-breeds-20261123-101500-ab12:1
  python scripts/deploy.py --backend aws --model runs/new --canary 10 --rollback-on dog-breeds-5xx
  python scripts/deploy.py --backend aws --name queue --async --scale-backlog 5
  python scripts/deploy.py --backend aws --name many --multi-model s3://bucket/models/
  python scripts/deploy.py --backend aws --delete dog-breeds

On SageMaker a model is an archive or a job's folder here, s3://… or a training job's name; an endpoint
that is there is updated, and is afterwards as this command says. Ctrl-C ends the wait, not the endpoint. Here
the endpoint's log goes to stderr, and nothing is left behind when it stops.
"""

import argparse
import sys
from pathlib import Path

from launcher import arguments as command
from launcher import aws_endpoint, backends, command_line, deployment, endpoint_requests, serving_arguments
from launcher.aws_endpoint import AwsEndpoint
from launcher.errors import SettingsError
from launcher.model_source import ModelSource


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_backend(parser, serving_arguments.AWS)
    command.add_serving(parser)
    parser.add_argument("--model", default="runs/latest/output/model.tar.gz", help="what to serve")
    parser.add_argument("--port", type=int, default=8080, help="on 127.0.0.1; 0 takes any that is free")
    serving_arguments.add(parser)
    parser.add_argument("--dry-run", action="store_true", help="print all requests and do nothing")
    return serving_arguments.parse(parser)


def main() -> int:
    """Serve here in the foreground, or see to an endpoint on SageMaker."""
    arguments = parse_arguments()
    if arguments.backend != serving_arguments.AWS:
        serve_here(arguments)
    elif arguments.delete:
        delete(arguments)
    elif arguments.attach:
        attach(arguments)
    else:
        deploy(arguments)
    return 0


def serve_here(arguments: argparse.Namespace) -> None:
    """Serve in the foreground."""
    requests = endpoint_requests.on_this_machine(arguments.serve_image, Path(arguments.model), arguments.name)
    if arguments.dry_run:
        operations = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")
        command.show(list(zip(operations, requests, strict=True)))
        return
    tell = command_line.tell
    backend = backends.choose(arguments.backend, tell, memory=arguments.memory, cpus=arguments.cpus)
    with backend.deploy(*requests, port=arguments.port, on_line=tell) as running:
        print(f"{running.name} answers at {running.url}; Ctrl-C stops it. Try:")
        print(
            f"  curl -H 'Content-Type: image/jpeg' --data-binary @dog.jpg {running.url}/invocations",
            flush=True,
        )
        running.wait()


def deploy(arguments: argparse.Namespace) -> None:
    """Make or update an endpoint, and wait until it answers."""
    account = command.account_of(arguments)
    source = ModelSource(account, command_line.tell, send=not arguments.dry_run)
    archives = {model: source.uri(model) for model in serving_arguments.models(arguments)}
    plan = deployment.plan(arguments, account, archives)
    if arguments.dry_run:
        command.show(plan.operations)
        command_line.tell(
            "CreateEndpoint is sent where there is no endpoint of this name, else UpdateEndpoint"
        )
        return
    endpoint = AwsEndpoint(deployment.name_of(arguments, account), account, command_line.tell)
    show(endpoint.name, endpoint.deploy(plan))


def attach(arguments: argparse.Namespace) -> None:
    """Wait for an endpoint that is being made or changed, and scale it if that is asked for."""
    if arguments.dry_run:
        raise SettingsError("--attach sends no request that --dry-run could show")
    account = command.account_of(arguments)
    endpoint = AwsEndpoint(arguments.attach, account, command_line.tell)
    found = endpoint.attach()
    variants = endpoint.variants(found)
    endpoint.scale(deployment.scaling_of(arguments, account, endpoint.name, variants))
    show(endpoint.name, found)


def delete(arguments: argparse.Namespace) -> None:
    """Remove an endpoint and what was made for it."""
    if arguments.dry_run:
        command.show([("DeleteEndpoint", {"EndpointName": arguments.delete})])
        command_line.tell("and its scaling, configurations and models, as they are found by their tags")
        return
    AwsEndpoint(arguments.delete, command.account_of(arguments), command_line.tell).delete()


def show(name: str, found: aws_endpoint.Description) -> None:
    """Say what answers, and how to end it."""
    print(f"{name} answers on SageMaker:", *aws_endpoint.summary(found), sep="\n")
    print(f"ask it:    python scripts/invoke.py dog.jpg --endpoint-name {name}")
    print(f"remove it: python scripts/deploy.py --backend aws --delete {name}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
