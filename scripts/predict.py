#!/usr/bin/env python3
"""Name the breeds on photographs without an endpoint and without a network, with the model of a training job.

  python scripts/predict.py ../dogs/test
  python scripts/predict.py dog.jpg --job runs/dog-breeds-… --format json

Becomes `predict` in the serving image, or as a process; the exit code is its own.
"""

import argparse
import os
import sys
from pathlib import Path

from launcher import arguments as command
from launcher import backends, bounds, command_line, offline, predictions, requests


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_backend(parser)
    parser.add_argument("paths", type=Path, nargs="+", metavar="FILE|FOLDER", help="folders are searched")
    parser.add_argument("--job", type=Path, default=Path("runs/latest"), help="whose model to use")
    parser.add_argument("--image", default=requests.SERVING_IMAGE, help="what to run in")
    parser.add_argument("--top-k", type=bounds.positive, default=5, metavar="K", help="how many breeds")
    parser.add_argument("--format", choices=predictions.FORMATS, default="table", help="how to show them")
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="FOLDER",
        help="write there, for each picture, what spoke for its breed",
    )
    return parser.parse_args()


def main() -> int:
    """Become `predict`."""
    arguments = parse_arguments()
    program = offline.predict_command(
        backends.choose(arguments.backend, command_line.tell).name,
        image=arguments.image,
        job=arguments.job,
        paths=arguments.paths,
        options=["--top-k", str(arguments.top_k), "--format", arguments.format],
        explain=arguments.explain,
        terminal=sys.stdout.isatty() and sys.stderr.isatty(),
    )
    os.execvp(program[0], program)  # noqa: S606 - an argument list, no shell


if __name__ == "__main__":
    sys.exit(command_line.run(main))
