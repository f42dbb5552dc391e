#!/usr/bin/env python3
"""Serve a model: on this machine until Ctrl-C, or with --backend aws on SageMaker until it is deleted.

  python scripts/deploy.py
  python scripts/deploy.py --model runs/dog-breeds-…/output/model.tar.gz --port 0 --memory 2g --cpus 2
  python scripts/deploy.py --variant old=runs/dog-breeds-… --variant new=runs/latest       # a port for each
  python scripts/deploy.py --backend aws --model runs/latest --capture 10 --scale-invocations 600
  python scripts/deploy.py --backend aws --variant A=runs/old:9 --variant B=dog-breeds-20261123-101500-ab12:1
  python scripts/deploy.py --backend aws --model runs/new --canary 10 --rollback-on ALARM  # monitor.py's
  python scripts/deploy.py --backend aws --name queue --async --scale-backlog 5
  python scripts/deploy.py --backend aws --name many --multi-model s3://bucket/models/
  python scripts/deploy.py --backend aws --delete dog-breeds

A model is an archive or a job's folder here, for SageMaker also s3://… or a training job's name; an endpoint
that is there is updated, and is afterwards as this command says. Ctrl-C ends the wait, not the endpoint. Here
the endpoint's log goes to stderr, and nothing is left behind when it stops.
"""

import argparse
import sys

from launcher import arguments as command
from launcher import aws_endpoint, command_line, deployment, hosting, serving, serving_arguments
from launcher.aws_endpoint import AwsEndpoint
from launcher.errors import SettingsError


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    serving_arguments.add(parser)
    parser.add_argument("--dry-run", action="store_true", help="print all requests and do nothing")
    return serving_arguments.parse(parser)


def main() -> int:
    """Serve here in the foreground, or see to an endpoint on SageMaker."""
    arguments = parse_arguments()
    if arguments.backend != serving_arguments.AWS:
        serve_here(arguments)
    elif arguments.delete is not None:
        delete(arguments)
    elif arguments.attach is not None:
        attach(arguments)
    else:
        deploy(arguments)
    return 0


def serve_here(arguments: argparse.Namespace) -> None:
    """Serve in the foreground."""
    if arguments.dry_run:
        each = serving.requests_here(arguments).values()
        command.show([pair for requests in each for pair in zip(serving.OPERATIONS, requests, strict=True)])
        return
    with serving.here(arguments, command_line.tell) as running:
        for each in running.values():
            print(f"{each.name} answers at {each.url}; Ctrl-C stops it. Try:")
            print(f"  curl -H 'Content-Type: image/jpeg' --data-binary @dog.jpg {each.url}/invocations")
        sys.stdout.flush()
        hosting.wait(running.values())


def deploy(arguments: argparse.Namespace) -> None:
    """Make or update an endpoint, and wait until it answers."""
    if arguments.dry_run:
        account = command.account_of(arguments)
        command.show(serving.plan(arguments, account, command_line.tell, send=False).operations)
        command_line.tell(
            "CreateEndpoint is sent where there is no endpoint of this name, else UpdateEndpoint"
        )
        return
    endpoint, found = serving.on_aws(arguments, command_line.tell)
    show(endpoint.name, found)


def attach(arguments: argparse.Namespace) -> None:
    """Wait for an endpoint that is being made or changed, and scale it if that is asked for."""
    if arguments.dry_run:
        raise SettingsError("--attach sends no request that --dry-run could show")
    account = command.account_of(arguments)
    endpoint = AwsEndpoint(arguments.attach, account, command_line.tell)
    found = endpoint.attach()
    config = endpoint.configuration(found)
    endpoint.scale(deployment.scaling_of(arguments, account, endpoint.name, config))
    show(endpoint.name, found)


def delete(arguments: argparse.Namespace) -> None:
    """Remove an endpoint and what was made for it."""
    if arguments.dry_run:
        command.show([("DeleteEndpoint", {"EndpointName": arguments.delete})])
        command_line.tell(
            "and its scaling, configurations and models, as they are found by their tags; its log gets one"
        )
        return
    AwsEndpoint(arguments.delete, command.account_of(arguments), command_line.tell).delete()


def show(name: str, found: aws_endpoint.Description) -> None:
    """Say what answers, and how to end it."""
    print(f"{name} answers on SageMaker:", *aws_endpoint.summary(found), sep="\n")
    print(f"ask it:    python scripts/invoke.py dog.jpg --endpoint-name {name}")
    print(f"remove it: python scripts/deploy.py --backend aws --delete {name}")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
