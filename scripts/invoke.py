#!/usr/bin/env python3
"""Ask an endpoint about pictures.

  python scripts/invoke.py dog.jpg photos/ --url http://127.0.0.1:8080 --format json

An .npy file, float32 (N, 3, 224, 224) as docs/http.md describes it, has N answers.
Exit code 1 when a file could not be read or was refused; the others are answered all the same.
"""

import argparse
import sys
from itertools import chain
from pathlib import Path

from launcher import arguments as command
from launcher import command_line, pictures, predictions
from launcher.endpoint import EndpointClient


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("paths", type=Path, nargs="+", metavar="FILE|FOLDER", help="folders are searched")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the endpoint")
    parser.add_argument("--top-k", type=int, choices=range(1, 6), default=5, help="how many breeds to show")
    parser.add_argument("--format", choices=predictions.FORMATS, default="table", help="how to show them")
    parser.add_argument("--clients", type=command.positive, default=4, metavar="N", help="requests at a time")
    return parser.parse_args()


def main() -> int:
    """Ask and show."""
    arguments = parse_arguments()
    files = pictures.find(arguments.paths)
    with EndpointClient.connect(arguments.url) as client:
        replies = command_line.progress(
            client.predict_all(files, arguments.clients), total=len(files), what="asking the endpoint"
        )
        answers = list(chain.from_iterable(replies))
    predictions.show(answers, arguments.format, arguments.top_k)
    return 1 if any(answer.error for answer in answers) else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
