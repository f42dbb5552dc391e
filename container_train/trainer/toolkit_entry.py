"""What sagemaker-training runs instead of its own launcher.

SAGEMAKER_TRAINING_MODULE=trainer.toolkit_entry:main selects it. Adds to the stock launcher: SIGTERM
reaches the training program, hyperparameters arrive whatever characters they are made of, the failure
file begins with what a person needs to know, and the log is the program's (the hyperparameter
sagemaker_container_log_level=20 brings the toolkit's own lines back).
"""

import json
import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from sagemaker_training import entry_point, environment, errors, logging_config, params, runner


def main() -> None:
    """Run the user's program; raises `errors.ClientError`, whose text becomes the failure file."""
    job = environment.Environment()
    if params.LOG_LEVEL_PARAM not in environment.read_hyperparameters():
        # At its own level the toolkit prints every variable of the job, 150 lines around the first metric.
        logging_config.get_logger().setLevel(logging.WARNING)
    with forward_sigterm():
        try:
            entry_point.run(
                uri=job.module_dir,
                user_entry_point=job.user_entry_point,
                args=command_line(job.hyperparameters),
                env_vars=job.to_env_vars(),
                capture_error=True,
                runner_type=runner.ProcessRunnerType,
            )
        except errors.ClientError as error:
            if Path(environment.output_dir, "failure").exists():
                raise  # the program has written it: a sentence for a person
            raise errors.ClientError(failure_text(error)) from error


def command_line(hyperparameters: Mapping[str, Any]) -> list[str]:
    """One `--name=value` each: a value that begins with a dash stays a value.

    The toolkit has JSON-decoded the values; what was not a string is written as JSON again.
    """
    return [
        f"--{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in sorted(hyperparameters.items())
    ]


def failure_text(error: Exception) -> str:
    """The cause in one line, then everything: the platform shows the first 1,024 characters."""
    code, output = getattr(error, "return_code", None), getattr(error, "output", None)
    lines = [line.strip() for line in (output or "").splitlines() if line.strip()]
    if code is None:
        return str(error)
    if code in {"-9", "137"}:
        cause = (
            "the training program was killed (signal 9), most often for lack of memory: "
            "lower batch-size or workers, or choose a larger instance"
        )
    elif code.startswith("-"):
        cause = f"the training program died of {signal.Signals(-int(code)).name}"
    else:
        cause = lines[-1] if lines else f"the training program ended with exit code {code}"
    return f"{cause}\n\n{error}"


@contextmanager
def forward_sigterm() -> Iterator[None]:
    """Pass SIGTERM on to the training program, which ends by itself.

    As a container's first process the toolkit would ignore the signal. Only its direct children
    get it: a program whose loader processes are stopped under it can save nothing.
    """

    def forward(signal_number: int, frame: FrameType | None) -> None:
        for child in psutil.Process().children():
            child.send_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
