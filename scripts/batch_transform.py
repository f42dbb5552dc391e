#!/usr/bin/env python3
"""Name the breeds on a whole folder of photographs, here or in S3: a CreateTransformJob request, carried out.

  python scripts/batch_transform.py ../dogs/test --format csv
  python scripts/batch_transform.py s3://bucket/photos --backend aws --model runs/latest
  python scripts/batch_transform.py --backend aws --attach dog-breeds-batch-…      # after Ctrl-C
  python scripts/batch_transform.py --backend aws --stop dog-breeds-batch-…

One line a picture, with its name, in predictions.csv or .jsonl; a picture that cannot be read has an error
there, and the others are answered all the same. Where it lies is the last line on stdout.
Exit codes: 0 done; 1 the job failed, or some pictures have an error; 2 a setting is wrong.
"""

import argparse
import sys

from launcher import arguments as command
from launcher import batch, command_line, transform, transform_arguments
from launcher.command_line import tell


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    transform_arguments.add(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the requests and do nothing")
    return transform_arguments.parse(parser)


def main() -> int:
    """Answer every picture; print where the predictions are, and say what they lack."""
    arguments = parse_arguments()
    if arguments.dry_run:
        command.show([*transform.requests_of(arguments, tell).items()])
        return 0
    if arguments.stop:
        transform.stop(arguments, tell)
        return 0
    found = transform.run(arguments, tell)
    refused = batch.refused(found.content, found.form)
    if refused:
        tell(f"{refused:,} pictures have an error instead of a prediction")
    print(found.place)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
