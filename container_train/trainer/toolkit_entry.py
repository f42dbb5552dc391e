"""What sagemaker-training runs instead of its own launcher.

SAGEMAKER_TRAINING_MODULE=trainer.toolkit_entry:main selects it. Adds to the stock launcher: SIGTERM
reaches the training program, hyperparameters arrive whatever characters they are made of, the failure
file begins with what a person needs to know, and the log is the program's (the hyperparameter
sagemaker_container_log_level=20 brings the toolkit's own lines back).
"""

import json
import logging
import signal
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
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
    announce_unknown_hosts(job.hosts)
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
            failure_file = Path(environment.output_dir, "failure")
            if failure_file.exists():
                raise  # the program has written it: a sentence for a person
            text = failure_text(error)
            write_failure(failure_file, text)
            raise errors.ClientError(text) from error


def write_failure(file: Path, text: str) -> None:
    """Write the failure file, on a full disk an empty one.

    If there were none and the toolkit could not write it either, it would end with exit code 0.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{file} cannot be written: {error.strerror}", file=sys.stderr, flush=True)


def announce_unknown_hosts(hosts: Iterable[str]) -> None:
    """Name the hosts that the toolkit is going to wait for: it says nothing, for up to 15 minutes."""
    for host in hosts:
        try:
            socket.gethostbyname(host)
        except OSError:
            print(
                f"waiting up to 15 minutes for the host name {host} of resourceconfig.json to be known; "
                f"a container of your own knows it with --add-host {host}:127.0.0.1",
                file=sys.stderr,
                flush=True,
            )


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
        cause = _last_line(lines) or f"the training program ended with exit code {code}"
    return f"{cause}\n\n{error}"


def _last_line(lines: list[str]) -> str:
    """The last line of the output; the toolkit cuts `ValueError: why` in two where a pipe's piece ends."""
    cut = len(lines) > 1 and lines[-2].replace(".", "").isidentifier()
    return ": ".join(lines[-2:]) if cut else "".join(lines[-1:])


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
