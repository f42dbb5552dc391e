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
from launcher import aws_training, backends, command_line, findings, jobs, training_arguments
from launcher.aws_arguments import AWS
from launcher.aws_training import AwsTraining


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
        command.show([("CreateTrainingJob", training_arguments.request_of(arguments))])
    elif arguments.backend == AWS:
        train_on_aws(arguments)
    else:
        train_here(arguments)
    return 0


def train_here(arguments: argparse.Namespace) -> None:
    """Carry the request out on this machine."""
    request = training_arguments.request_of(arguments)
    backend = backends.choose(arguments.backend, command_line.tell)
    if arguments.managed_rules:
        command_line.tell("--managed-rules: only SageMaker has them; here the job runs its own rules")
    job = backend.train(request, arguments.output, command_line.tell)
    latest = jobs.point_latest(job)
    for name, value in job.metrics.items():
        print(f"{name:24} {value:.6g}")
    lines = [f"model: {job.archive}", f"{latest} leads to this job", *findings.summary(job.folder)]
    print("\n".join(lines))


def train_on_aws(arguments: argparse.Namespace) -> None:
    """Send the request, or find a job that runs there; follow or stop it."""
    account, say = command.account_of(arguments), command_line.tell
    if arguments.stop:
        ended = AwsTraining(arguments.stop, account, say).stop()
        say(f"it had ended already: {ended}" if ended else f"stopping: --attach {arguments.stop} follows it")
        return
    request = None if arguments.attach else training_arguments.request_of(arguments)
    job = AwsTraining(request["TrainingJobName"] if request else arguments.attach, account, say)
    print("\n".join(aws_training.run(job, say, request)))


if __name__ == "__main__":
    sys.exit(command_line.run(main))
