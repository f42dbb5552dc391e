"""What sagemaker-training runs instead of its own launcher.

SAGEMAKER_TRAINING_MODULE=trainer.toolkit_entry:main selects it. Adds to the stock launcher: torchrun where
there are several hosts or GPUs, SIGTERM that reaches the training programs, hyperparameters that arrive
whatever characters they are made of, a failure file that begins with what a person needs to know, and a
log that is the program's (the hyperparameter sagemaker_container_log_level=20 brings the toolkit's own
lines back).
"""

import json
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import FrameType
from typing import Any

import psutil
from sagemaker_training import (
    entry_point,
    environment,
    errors,
    logging_config,
    params,
    process,
    runner,
    torch_distributed,
)

from trainer.cpus import cpu_share

_HOSTS_KNOWN_WITHIN = 15 * 60.0  # seconds, the toolkit's own patience
_OTHER_HOSTS_END_WITHIN = 4.0  # seconds after this host's ranks have ended for a stop
_OWN_LINE_OF_TORCHRUN = re.compile(r"torch/distributed/elastic/\S+ (Sending process|failed \(exitcode)")
_FAILED_RANK = re.compile(r"rank\s*: (\d+) \(local_rank: \d+\)\s+exitcode\s*: (-?\d+)")


def main() -> None:
    """Run the user's program; raises `errors.ClientError`, whose text becomes the failure file."""
    job = environment.Environment()
    if params.LOG_LEVEL_PARAM not in environment.read_hyperparameters():
        # At its own level the toolkit prints every variable of the job, 150 lines around the first metric.
        logging_config.get_logger().setLevel(logging.WARNING)
    # Not job.distribution_hosts: on the platform they are none without the SDK's own hyperparameters.
    distributed = len(job.hosts) > 1 or job.num_gpus > 1
    with forward_sigterm(through_torchrun=distributed) as stop:
        try:
            wait_for_hosts(job.hosts)
            entry_point.run(
                uri=job.module_dir,
                user_entry_point=job.user_entry_point,
                args=command_line(job.hyperparameters),
                env_vars=job.to_env_vars(),
                capture_error=True,
                runner_type=Torchrun.of(job) if distributed else runner.ProcessRunnerType,
            )
            return
        except errors.ClientError as error:
            failure = error
    failure_file = Path(environment.output_dir, "failure")
    if failure_file.exists():
        raise failure  # the program has written it: a sentence for a person
    not_begun = stop.requested and getattr(failure, "return_code", None) == str(-signal.SIGTERM)
    if not_begun or stop.released:
        return
    text = failure_text(failure)
    write_failure(failure_file, text)
    raise errors.ClientError(text) from failure


class Torchrun(torch_distributed.TorchDistributedRunner):
    """Starts one process a GPU, without GPUs one a host, and fails as the one process at fault failed."""

    @classmethod
    def of(cls, job: environment.Environment) -> "Torchrun":
        """The runner of this host's share of `job`."""
        hosts = sorted(job.hosts)  # the first one is the same everywhere
        alone = len(hosts) == 1  # then the container may have no network
        return cls(
            user_entry_point=job.user_entry_point,
            args=command_line(job.hyperparameters),
            env_vars=job.to_env_vars(),
            processes_per_host=max(1, job.num_gpus),
            master_hostname=hosts[0],
            hosts=hosts,
            current_host=job.current_host,
            network_interface_name="lo" if alone else network_interface(job),
            instance_type=job.current_instance_type,
        )

    def run(self, wait: bool = True, capture_error: bool = True) -> Any:  # type: ignore[override]
        """Start torchrun and wait for it; raises `errors.ExecuteUserScriptError` of the rank at fault."""
        os.environ["GLOO_SOCKET_IFNAME"] = self._network_interface_name
        threads = max(1, cpu_share(os.environ) // self._processes_per_host)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        with TemporaryDirectory() as folder:
            report = Path(folder, "error.json")
            os.environ["TORCHELASTIC_ERROR_FILE"] = str(report)
            command = self._create_command()
            logging_config.log_script_invocation(command, self._env_vars)
            try:  # the names begin the part of the log that the toolkit keeps
                return process.check_error(
                    command,
                    ["Traceback", "Sending process", "failed (exitcode"],
                    self._processes_per_host,
                    cwd=environment.code_dir,
                    capture_error=True,
                )
            except errors.ClientError as error:
                raise failure_of_rank(error, report) from error

    def _create_command(self) -> list[str]:
        """Without the PATH, alone on a free port, and with all that follows `--` left to the program."""
        command = super()._create_command()  # type: ignore[no-untyped-call]
        program = len(command) - len(self._args) - 1
        options = command[1:program]
        if len(self._hosts) == 1:
            options += ["--standalone", "--local-addr", "127.0.0.1"]
        return [sys.executable, "-m", "torch.distributed.run", *options, "--", *command[program:]]


def network_interface(job: environment.Environment) -> str:
    """The interface that the other hosts know this one by.

    It is the one that resourceconfig.json names, unless there is none of that name: the SageMaker SDK's local
    mode says `ethwe` whatever the container has.
    """
    named = str(job.network_interface_name)
    interfaces = psutil.net_if_addrs()
    if named in interfaces:
        return named
    own = socket.gethostbyname(job.current_host)
    return next(
        (name for name, found in interfaces.items() if own in {each.address for each in found}), named
    )


def failure_of_rank(error: errors.ClientError, report: Path) -> errors.ClientError:
    """torchrun's failure as that of the rank which caused it.

    torchrun copies the traceback that a rank has recorded to `report`, and lists the exit codes; ranks
    that it has stopped itself died of SIGTERM.
    """
    output = getattr(error, "output", None) or ""
    failed = {int(code): rank for rank, code in _FAILED_RANK.findall(output)}
    stopped = failed.pop(-signal.SIGTERM, None) is not None or "SignalException" in output
    code = min(failed, default=-signal.SIGTERM if stopped else int(getattr(error, "return_code", 1)))
    if report.exists():
        said = json.loads(report.read_text(encoding="utf-8"))["message"]["extraInfo"]["py_callstack"]
    else:
        own = _OWN_LINE_OF_TORCHRUN.search(output)
        said = output[: output.rfind("\n", 0, own.start()) + 1] if own else output
        said = re.sub(r"^ *\[rank\d+\]: ", "", said, flags=re.MULTILINE)
    if code < 0 and code in failed:
        said += f"rank {failed[code]} died of {signal.Signals(-code).name}\n"
    command = getattr(error, "cmd", "torchrun")
    return errors.ExecuteUserScriptError(cmd=command, return_code=code, output=said)


def write_failure(file: Path, text: str) -> None:
    """Write the failure file, on a full disk an empty one.

    If there were none and the toolkit could not write it either, it would end with exit code 0.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{file} cannot be written: {error.strerror}", file=sys.stderr, flush=True)


def wait_for_hosts(hosts: Iterable[str]) -> None:
    """Wait until the names of all hosts are known, as the toolkit does, but not silently or deaf to SIGTERM.

    Raises `errors.ClientError` after 15 minutes.
    """
    if os.environ.get("SM_STUDIO_LOCAL_MODE", "").lower() == "true":
        return  # nor does the toolkit wait there
    deadline = time.monotonic() + _HOSTS_KNOWN_WITHIN
    for host in hosts:
        if is_known(host):
            continue
        remedy = f"a container of your own knows it with --add-host {host}:127.0.0.1"
        print(
            f"waiting up to 15 minutes for the host name {host} of resourceconfig.json to be known; {remedy}",
            file=sys.stderr,
            flush=True,
        )
        while not is_known(host):
            if time.monotonic() > deadline:
                raise errors.ClientError(
                    f"the host name {host} of resourceconfig.json is not known; {remedy}"
                )
            time.sleep(1)


def is_known(host: str) -> bool:
    """Whether `host` has an address; asked in a thread, because a look-up of many seconds hears no signal."""
    addresses: list[str] = []

    def look_up() -> None:
        with suppress(OSError):
            addresses.append(socket.gethostbyname(host))

    thread = Thread(target=look_up, daemon=True)
    thread.start()
    thread.join()
    return bool(addresses)


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


@dataclass
class StopRequest:
    """Whether SIGTERM has arrived, and whether torchrun was ended after its ranks had ended by themselves."""

    requested: bool = False
    released: bool = False


@contextmanager
def forward_sigterm(*, through_torchrun: bool) -> Iterator[StopRequest]:
    """Pass SIGTERM on to the training programs, which end by themselves; before they run, exit with 0.

    As a container's first process the toolkit would ignore the signal. Only the programs themselves get it:
    one whose loader processes are stopped under it can save nothing, and torchrun would have
    reported a failure.
    """
    stop = StopRequest()

    def forward(signal_number: int, frame: FrameType | None) -> None:
        children = psutil.Process().children()
        if not children:
            raise SystemExit(0)
        stop.requested = True
        for child in children:
            with suppress(psutil.NoSuchProcess):
                ranks = child.children() if through_torchrun else []
                for program in ranks or [child]:
                    program.send_signal(signal.SIGTERM)
                if ranks:
                    Thread(target=release, args=(stop, child, ranks), daemon=True).start()

    before = signal.signal(signal.SIGTERM, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked by entrypoint.py until now
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def release(stop: StopRequest, torchrun: psutil.Process, ranks: list[psutil.Process]) -> None:
    """End a torchrun whose ranks have ended, but which waits for those of other hosts.

    It would for five minutes, and hears no SIGTERM meanwhile.
    """
    psutil.wait_procs(ranks)
    time.sleep(_OTHER_HOSTS_END_WITHIN)
    if torchrun.is_running() and torchrun.status() != psutil.STATUS_ZOMBIE:
        stop.released = True
        torchrun.kill()
