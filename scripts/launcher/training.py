"""A training job from its options to what it leaves, here or on SageMaker.

Called by launch_training.py and by the notebook. On SageMaker the job runs on whatever ends the following.
"""

import argparse

from launcher import arguments as command
from launcher import aws_training, backends, findings, jobs, training_arguments
from launcher.aws_arguments import AWS
from launcher.aws_training import AwsTraining, Say
from launcher.trained import Trained


def run(given: argparse.Namespace, say: Say) -> Trained:
    """Carry the request of the options out and follow it; `say` gets the log.

    Raises JobFailed, JobStopped, SettingsError, and as AWS refuses or cannot be reached.
    """
    return _on_aws(given, say) if given.backend == AWS else _here(given, say)


def _here(given: argparse.Namespace, say: Say) -> Trained:
    request = training_arguments.request_of(given)
    backend = backends.choose(given.backend, say)
    if given.managed_rules:
        say("--managed-rules: only SageMaker has them; here the job runs its own rules")
    job = backend.train(request, given.output, say)
    notes = [f"{jobs.point_latest(job)} leads to this job", *findings.summary(job.folder)]
    return Trained(job.name, str(job.folder), str(job.archive), job.metrics, notes)


def _on_aws(given: argparse.Namespace, say: Say) -> Trained:
    request = None if given.attach else training_arguments.request_of(given)
    name = request["TrainingJobName"] if request else given.attach
    return aws_training.run(AwsTraining(name, command.account_of(given), say), say, request)


def stop(given: argparse.Namespace, say: Say) -> None:
    """Stop the job on SageMaker that the options name."""
    ended = AwsTraining(given.stop, command.account_of(given), say).stop()
    say(f"it had ended already: {ended}" if ended else f"stopping: --attach {given.stop} follows it")
