#!/usr/bin/env python3
"""Train a breed classifier: build the CreateTrainingJob request and carry it out.

  python scripts/launch_training.py --data ../dogs --backbone efficientnet_lite0 --epochs 3
  python scripts/launch_training.py --data ../dogs --checkpoints kept      # again: continues after Ctrl-C
  python scripts/launch_training.py --data ../dogs --instances 2 --backend docker
  python scripts/launch_training.py --data ../dogs --set weights=none --dry-run
  python scripts/launch_training.py --backend aws --data s3://bucket/data/dogs --hyperparameters best.json
  python scripts/launch_training.py --backend aws --attach NAME            # after Ctrl-C; or --stop NAME

The job's log goes to stderr; its metrics, the model's place, what its rules found and the report's place to
stdout. On this machine runs/latest leads to the job, and what can be used again is kept for the next one in
TRAINER_CACHE_DIR, by default ~/.cache/dog-breeds. On AWS the job runs on after Ctrl-C.
Exit codes: 0 done; 1 the job failed; 2 a setting is wrong; 75 the job was stopped, and the message says how
to continue it; 130 after Ctrl-C.
"""

import argparse
import sys

from launcher import arguments as command
from launcher import command_line, plain_text, training, training_arguments


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    training_arguments.add(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the request and do nothing")
    return training_arguments.parse(parser)


def main() -> int:
    """Train; print the last value of each metric and where the model is."""
    arguments = parse_arguments()
    if arguments.dry_run:
        command.show([training_arguments.operation_of(arguments)])
    elif arguments.stop:
        training.stop(arguments, command_line.tell)
    else:
        print(plain_text.lines("\n".join(training.run(arguments, command_line.tell).lines())))
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
