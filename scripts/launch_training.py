#!/usr/bin/env python3
"""Train a breed classifier: build the CreateTrainingJob request and carry it out.

  python scripts/launch_training.py --data ../dogs --backbone efficientnet_lite0 --epochs 3
  python scripts/launch_training.py --data ../dogs --checkpoints kept      # again: continues after Ctrl-C
  python scripts/launch_training.py --data ../dogs --instances 2 --backend docker
  python scripts/launch_training.py --data ../dogs --set weights=none --dry-run

The job's log goes to stderr; its metrics, the model's place, what its rules found and the report's place to
stdout. runs/latest leads to the job.
What can be used again is kept for the next job in TRAINER_CACHE_DIR, by default ~/.cache/dog-breeds.
Exit code 75: the job was stopped, and the message says how to continue it.
"""

import argparse
import sys

from launcher import arguments as command
from launcher import backends, command_line, findings, jobs


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_backend(parser)
    command.add_training(parser)
    command.add_debugging(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the request and do nothing")
    return parser.parse_args()


def main() -> int:
    """Train; print the last value of each metric."""
    arguments = parse_arguments()
    request = command.training_request(arguments, **command.debugging_request(arguments))
    if arguments.dry_run:
        command.show([("CreateTrainingJob", request)])
        return 0
    backend = backends.choose(arguments.backend, command_line.tell)
    if arguments.managed_rules:
        command_line.tell("--managed-rules: only SageMaker has them; here the job runs its own rules")
    job = backend.train(request, arguments.output, command_line.tell)
    latest = jobs.point_latest(job)
    for name, value in job.metrics.items():
        print(f"{name:24} {value:.6g}")
    lines = [f"model: {job.archive}", f"{latest} leads to this job", *findings.summary(job.folder)]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
