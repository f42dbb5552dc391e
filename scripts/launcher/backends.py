"""Where a request is carried out: one interface, and the choice between what implements it.

Called by the scripts, which never ask which backend they have.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from launcher.errors import SettingsError
from launcher.hosting import RunningEndpoint
from launcher.jobs import FinishedJob
from launcher.process_backend import ProcessBackend
from launcher.requests import Request
from launcher.workloads import OnLine

NAMES = ("auto", "docker", "process")


class Backend(Protocol):
    """Carries out the requests of the SageMaker API."""

    name: str

    def check(self, job: Request) -> None:
        """Raise SettingsError for a training request, or a search's definition, that cannot run here."""

    def train(
        self,
        request: Request,
        runs: Path,
        on_line: OnLine,
        *,
        cancel: threading.Event | None = None,
        parallel: int = 1,
    ) -> FinishedJob:
        """Run a CreateTrainingJob request to its end, or until `cancel` is set.

        `parallel` is how many jobs share the machine, each run by a thread of its own. Raises JobFailed,
        JobStopped, SettingsError.
        """

    def clear(self, job: str) -> None:
        """End what a launcher that was killed has left running of a training job."""

    def deploy(
        self, model: Request, config: Request, endpoint: Request, *, port: int, on_line: OnLine
    ) -> AbstractContextManager[RunningEndpoint]:
        """Serve until the context ends, leaving nothing behind; raises EndpointFailed, SettingsError."""


def choose(
    name: str, say: Callable[[str], None], *, memory: str | None = None, cpus: float | None = None
) -> Backend:
    """Return the backend of that name; `auto` takes Docker when an engine answers. Says which, and why.

    `memory` ("4g") and `cpus` limit an endpoint's container. Raises SettingsError when Docker is asked for
    and no engine answers, or when limits are given that processes cannot be held to.
    """
    if name != "process":
        from launcher.docker_backend import DockerBackend  # noqa: PLC0415 - half a second, of every --help

        try:
            backend = DockerBackend(memory=memory, cpus=cpus)
        except SettingsError as error:
            if name == "docker":
                raise SettingsError(f"{error}; or do without: --backend process") from None
            say(f"backend: process (no Docker engine: {str(error).splitlines()[0]})")
        else:
            say(f"backend: docker (engine {backend.engine_version} answers)")
            return backend
    else:
        say("backend: process (as asked)")
    if memory or cpus:
        raise SettingsError("--memory and --cpus limit containers: they need --backend docker")
    return ProcessBackend()
