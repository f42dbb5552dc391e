#!/usr/bin/env python3
"""Ask an endpoint about pictures, or compare two.

  python scripts/invoke.py dog.jpg photos/ --url http://127.0.0.1:8080 --format json
  python scripts/invoke.py s3://bucket/photos/ --endpoint-name dog-breeds --variant B --latency
  python scripts/invoke.py dog.jpg --endpoint-name queue --async
  python scripts/invoke.py dog.jpg --endpoint-name many --target-model poodles.tar.gz
  python scripts/invoke.py dogs/test --endpoint-name dog-breeds --compare A B
  python scripts/invoke.py dogs/test --compare http://127.0.0.1:8080 http://127.0.0.1:8081

An .npy file, float32 (N, 3, 224, 224) as docs/http.md describes it, has N answers.
Exit code 1 when a file could not be read or was refused; the others are answered all the same.
"""

import argparse
import sys
import tempfile
from itertools import chain
from pathlib import Path

from launcher import arguments as command
from launcher import asking_arguments, command_line, comparison, latency, predictions
from launcher.asked_files import AskedFiles


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "paths", nargs="+", metavar="FILE|FOLDER|s3://…", help="folders and prefixes are searched"
    )
    asking_arguments.add(parser)
    parser.add_argument("--top-k", type=int, choices=range(1, 6), default=5, help="how many breeds to show")
    parser.add_argument("--format", choices=predictions.FORMATS, default="table", help="how to show them")
    parser.add_argument("--clients", type=command.positive, default=4, metavar="N", help="requests at a time")
    parser.add_argument("--latency", action="store_true", help="say on stderr how long the answers took")
    return asking_arguments.parse(parser)


def main() -> int:
    """Ask and show."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="dog-breeds-") as scratch:
        files = AskedFiles(arguments.paths, Path(scratch))
        if arguments.dry_run:
            command.show(asking_arguments.operations_of(arguments, files))
            return 0
        return compare(arguments, files) if arguments.compare else ask(arguments, files)


def ask(arguments: argparse.Namespace, asked: AskedFiles) -> int:
    """Ask one endpoint about all files."""
    files = asked.files()
    with asking_arguments.client_of(arguments) as client:
        replies = command_line.progress(
            client.predict_all(files, arguments.clients), total=len(files), what="asking the endpoint"
        )
        answers = [asked.named(answer) for answer in chain.from_iterable(replies)]
    predictions.show(answers, arguments.format, arguments.top_k)
    if arguments.latency:
        for line in latency.lines(answers):
            command_line.tell(line)
    return 1 if any(answer.error for answer in answers) else 0


def compare(arguments: argparse.Namespace, asked: AskedFiles) -> int:
    """Ask two about the same labelled pictures."""
    classes = asked.classes()
    first, second = asking_arguments.both_of(arguments)
    with first, second:
        asking = comparison.ask(first, second, classes, arguments.clients)
        pairs = [*command_line.progress(asking, total=len(classes), what="asking both")]
    found = comparison.result(tuple(arguments.compare), pairs)
    comparison.show(found, arguments.format)
    return 1 if found.unanswered else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
