#!/usr/bin/env python3
"""Open a page on this machine to try an endpoint with: drop a photograph, see its breeds, and why.

  python scripts/ui.py
  python scripts/ui.py --url http://127.0.0.1:8081 --port 0 --no-browser
  python scripts/ui.py --endpoint-name dog-breeds-endpoint-… --region eu-west-1

Nobody but this machine can reach the page. Ctrl-C ends it; the endpoint goes on.
"""

import argparse
import errno
import sys
import threading
import webbrowser

from launcher import arguments as command
from launcher import bounds, command_line
from launcher.endpoint import EndpointClient
from launcher.errors import SettingsError
from launcher.ui.endpoints import Endpoint, SageMakerEndpoint, UrlEndpoint
from launcher.ui.server import PageServer


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--url", default="http://127.0.0.1:8080", help="the endpoint")
    which.add_argument(
        "--endpoint-name", type=command.named, metavar="NAME", help="one of SageMaker's endpoints instead"
    )
    parser.add_argument("--region", help="of that endpoint; default: the environment's")
    parser.add_argument(
        "--port", type=bounds.port, default=8000, help="of the page; 0 takes any that is free"
    )
    parser.add_argument("--no-browser", action="store_true", help="only say where the page is")
    return parser.parse_args()


def main() -> int:
    """Serve the page in the foreground."""
    arguments = parse_arguments()
    endpoint = _endpoint(arguments)
    try:
        server = PageServer(endpoint, arguments.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise SettingsError(
            f"port {arguments.port} is taken: choose another with --port, 0 takes any that is free"
        ) from None
    with server:
        print(f"{server.url} asks {endpoint.name}; Ctrl-C ends it", flush=True)
        if not arguments.no_browser and command_line.has_screen():
            # Some browsers are waited for until they show the page, which this thread has to serve.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()
    return 0


def _endpoint(arguments: argparse.Namespace) -> Endpoint:
    if arguments.endpoint_name:
        return SageMakerEndpoint.connect(arguments.endpoint_name, arguments.region)
    return UrlEndpoint(EndpointClient.connect(arguments.url))


if __name__ == "__main__":
    sys.exit(command_line.run(main))
