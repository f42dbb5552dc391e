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

from launcher import arguments as command
from launcher import asking, asking_arguments, command_line, comparison, latency, predictions


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    asking_arguments.add(parser)
    return asking_arguments.parse(parser)


def main() -> int:
    """Ask and show."""
    arguments = parse_arguments()
    if arguments.dry_run:
        command.show(asking.operations(arguments))
        return 0
    return compare(arguments) if arguments.compare else ask(arguments)


def ask(arguments: argparse.Namespace) -> int:
    """Ask one endpoint about all files."""
    answers = asking.ask(arguments)
    predictions.show(answers, arguments.format, arguments.top_k)
    if arguments.latency:
        for line in latency.lines(answers):
            command_line.tell(line)
    return 1 if any(answer.error for answer in answers) else 0


def compare(arguments: argparse.Namespace) -> int:
    """Ask two about the same labelled pictures."""
    found = asking.compare(arguments)
    comparison.show(found, arguments.format)
    return 1 if found.unanswered else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
