"""Carries requests out without Docker: the same toolkits, as processes of this machine.

A job's folder takes the place of /opt/ml (`SAGEMAKER_BASE_DIR`).
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from launcher import cache, hosting, jobs, layout, workloads
from launcher.errors import SettingsError
from launcher.hosting import RunningEndpoint
from launcher.jobs import FinishedJob
from launcher.requests import Request
from launcher.workloads import OnLine, Workload

CHECKOUT = Path(__file__).resolve().parents[2]


class ProcessGroup:
    """A command in a session of its own, so that all its descendants can be ended together."""

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._ended_at = float("inf")

    def output(self) -> Iterator[bytes]:
        """Yield output in pieces as they come."""
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - PIPE was asked for
        with stream:
            while piece := os.read(stream.fileno(), 65_536):
                yield piece

    def exit_code(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        code = self._process.poll()
        if code is not None:
            self._ended_at = min(self._ended_at, time.time())
        return 128 - code if code is not None and code < 0 else code

    def ended_at(self) -> float:
        """Return when the command was first seen to have ended."""
        return self._ended_at

    def terminate(self) -> None:
        """SIGTERM to the command, as a container's first process gets it."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with suppress(ProcessLookupError):  # nobody is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str], folder: Path, *, grace_seconds: float
) -> Iterator[Workload]:
    """Start a process group and end it with the context, also after Ctrl-C."""
    group = ProcessGroup(command, environment, folder)
    try:
        yield group
    finally:
        workloads.stop([group], grace_seconds=grace_seconds)


HOST = "localhost"  # the toolkit waits up to 15 minutes until its host's name resolves: this one always does


class ProcessBackend:
    """The same toolkits as in the images, started from this environment."""

    name = "process"

    def __init__(self, code: Path = CHECKOUT / "container_train") -> None:
        self._code = code

    def check(self, job: Request) -> None:
        """Raise SettingsError for more hosts than there are."""
        if (count := job["ResourceConfig"]["InstanceCount"]) > 1:
            raise SettingsError(
                f"--instances {count}: processes have this one host; several need --backend docker"
            )

    def train(
        self,
        request: Request,
        runs: Path,
        on_line: OnLine,
        *,
        cancel: threading.Event | None = None,
        parallel: int = 1,
    ) -> FinishedJob:
        """Run a CreateTrainingJob request on one host; its image is not used."""
        self.check(request)
        channels = layout.channels(request)
        settings = {
            cache.VARIABLE: str(cache.folder(os.environ)),
            jobs.PARALLEL: str(parallel),
            **request.get("Environment", {}),
        }

        def start(folders: Mapping[str, Path]) -> AbstractContextManager[Mapping[str, Workload]]:
            return self._training(request["TrainingJobName"], folders[HOST], channels, settings)

        return jobs.carry_out(request, runs, hosts=[HOST], start=start, on_line=on_line, cancel=cancel)

    @contextmanager
    def _training(
        self, name: str, folder: Path, channels: Mapping[str, Path], settings: Mapping[str, str]
    ) -> Iterator[Mapping[str, Workload]]:
        links = {folder / "input/data" / name: source for name, source in channels.items()}
        links[folder / "code"] = self._code
        environment = {
            "SAGEMAKER_PROGRAM": "train_model.py",
            "SAGEMAKER_TRAINING_MODULE": "trainer.toolkit_entry:main",
            "TRAINER_WEIGHTS_DIR": str(CHECKOUT / "docker/weights"),
            "USE_SMDEBUG": "0",  # else the toolkit imports smdebug, and torch with it
            "TRAINING_JOB_NAME": name,
            **settings,
        }
        with (
            linked(links),
            running(
                [_console_script("train")],
                _environment(folder, environment),
                folder,
                grace_seconds=workloads.INTERRUPT_GRACE_SECONDS,
            ) as group,
        ):
            yield {HOST: group}

    def clear(self, job: str) -> None:
        """Nothing is left: a program that nobody listens to ends when it prints its next line."""

    def deploy(
        self, model: Request, config: Request, endpoint: Request, *, port: int, on_line: OnLine
    ) -> AbstractContextManager[RunningEndpoint]:
        """Serve the model of three endpoint requests; the image is not used."""
        variables = model["PrimaryContainer"].get("Environment", {})

        def start(folder: Path, port: int) -> AbstractContextManager[Workload]:
            command = [sys.executable, str(CHECKOUT / "container_serve/serve.py")]
            # A container's network is its own; a process must not offer the model to the machine's network.
            listen = {"SAGEMAKER_BIND_TO_PORT": str(port), "PREDICTOR_BIND_ADDRESS": "127.0.0.1"}
            environment = _environment(folder, variables | listen)
            return running(command, environment, folder, grace_seconds=workloads.SERVING_GRACE_SECONDS)

        return hosting.host(model, config, endpoint, port=port, start=start, on_line=on_line)


@contextmanager
def linked(links: Mapping[Path, Path]) -> Iterator[None]:
    """Put links where the contract expects folders, for as long as the context lasts."""
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target.resolve(), target_is_directory=True)
    try:
        yield
    finally:
        for link in links:
            link.unlink(missing_ok=True)


def _console_script(name: str) -> str:
    """Return the path of a console script of this very environment."""
    script = Path(sys.executable).parent / name
    if not script.is_file():
        raise SettingsError(f"{script} is missing: run `make setup` first")
    return str(script)


def _environment(base: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment without another job's settings, with the base folder and `variables`.

    The environment's own scripts come first on PATH: the toolkit starts `python` and `torchrun` by name.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("SM_", "SAGEMAKER_"))
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    own = {"SAGEMAKER_BASE_DIR": str(base), "PATH": path, "PYTHONUNBUFFERED": "1"}
    return {**inherited, **own, **variables}
