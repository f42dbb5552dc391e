#!/usr/bin/env python3
"""Serve a model on this machine until Ctrl-C.

  python scripts/deploy.py
  python scripts/deploy.py --model runs/dog-breeds-…/output/model.tar.gz --port 0 --memory 2g --cpus 2

The endpoint's log goes to stderr. Nothing is left behind when it stops.
"""

import argparse
import sys
from pathlib import Path

from launcher import arguments as command
from launcher import backends, command_line, endpoint_requests


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_backend(parser)
    command.add_serving(parser)
    parser.add_argument(
        "--model", type=Path, default=Path("runs/latest/output/model.tar.gz"), help="what to serve"
    )
    parser.add_argument("--port", type=int, default=8080, help="on 127.0.0.1; 0 takes any that is free")
    parser.add_argument("--dry-run", action="store_true", help="print the three requests and do nothing")
    return parser.parse_args()


def main() -> int:
    """Serve in the foreground."""
    arguments = parse_arguments()
    model, config, endpoint = endpoint_requests.on_this_machine(arguments.serve_image, arguments.model)
    if arguments.dry_run:
        operations = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")
        command.show(list(zip(operations, (model, config, endpoint), strict=True)))
        return 0
    tell = command_line.tell
    backend = backends.choose(arguments.backend, tell, memory=arguments.memory, cpus=arguments.cpus)
    with backend.deploy(model, config, endpoint, port=arguments.port, on_line=tell) as running:
        print(f"{running.name} answers at {running.url}; Ctrl-C stops it. Try:")
        print(
            f"  curl -H 'Content-Type: image/jpeg' --data-binary @dog.jpg {running.url}/invocations",
            flush=True,
        )
        running.wait()
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
