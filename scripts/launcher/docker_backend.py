"""Carries requests out with containers on this machine, under the /opt/ml contract.

Every container has a unique name and the label `dog-breeds.launcher`, so that whatever a power cut leaves
behind can be found: `docker ps -a --filter label=dog-breeds.launcher`.
"""

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from docker.errors import DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest, Mount
from requests.exceptions import RequestException

from launcher import docker_engine, hosting, jobs, workloads
from launcher.errors import SettingsError, WorkFailed
from launcher.hosting import RunningEndpoint
from launcher.jobs import FinishedJob
from launcher.requests import Request
from launcher.workloads import OnLine, Workload

LABEL = "dog-breeds.launcher"
HOST = "algo-1"  # the name that the platform gives a job's first host


class Container:
    """A started container as a workload."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def output(self) -> Iterator[bytes]:
        """Yield what the container logs, until it ends."""
        yield from self._container.logs(stream=True, follow=True)

    def exit_code(self) -> int | None:
        """Return the exit code, or None while the container runs."""
        self._container.reload()
        state = self._container.attrs["State"]
        return None if state["Running"] or state["Status"] == "created" else int(state["ExitCode"])

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM to the container's first process, SIGKILL to all of it after the grace time."""
        self._container.stop(timeout=int(grace_seconds))


class DockerBackend:
    """Training and serving in the project's own images."""

    name = "docker"

    def __init__(self, *, memory: str | None = None, cpus: float | None = None) -> None:
        """Connect to the engine; `memory` ("4g") and `cpus` limit an endpoint's container.

        Raises SettingsError when no engine answers.
        """
        self._client = docker_engine.connect()
        self.engine_version: str = self._client.version()["Version"]
        self._limits = {"mem_limit": memory, "nano_cpus": int(cpus * 1e9) if cpus else None}

    def train(self, request: Request, runs: Path, on_line: OnLine) -> FinishedJob:
        """Run a CreateTrainingJob request in a container; all its files belong to the caller afterwards."""
        channels = jobs.channels(request)
        self._require_image(request["AlgorithmSpecification"]["TrainingImage"])

        def start(folder: Path) -> AbstractContextManager[Workload]:
            return self._training(request, folder, channels)

        return jobs.carry_out(request, runs, host=HOST, start=start, on_line=on_line)

    @contextmanager
    def _training(self, request: Request, folder: Path, channels: Mapping[str, Path]) -> Iterator[Workload]:
        image = request["AlgorithmSpecification"]["TrainingImage"]
        mounts = [_mount(folder / "input/config", "/opt/ml/input/config", read_only=True)]
        mounts += [_mount(folder / part, f"/opt/ml/{part}") for part in ("model", "output", "checkpoints")]
        mounts += [
            _mount(source, f"/opt/ml/input/data/{name}", read_only=True) for name, source in channels.items()
        ]
        try:
            with self._running(
                request["TrainingJobName"],
                image=image,
                command=["train"],
                environment={
                    "TRAINING_JOB_NAME": request["TrainingJobName"],
                    **request.get("Environment", {}),
                },
                mounts=mounts,
                hostname=HOST,
                extra_hosts={HOST: "127.0.0.1"},  # without a network nothing else resolves it
                network_mode="none" if request.get("EnableNetworkIsolation", True) else "bridge",
                shm_size="2g",  # the loader's worker processes pass batches through shared memory
                device_requests=self._gpus(),
            ) as container:
                yield container
        finally:
            self._take_over(folder, image)

    def deploy(
        self, model: Request, config: Request, endpoint: Request, *, port: int, on_line: OnLine
    ) -> AbstractContextManager[RunningEndpoint]:
        """Serve the model of three endpoint requests, on 127.0.0.1 only."""
        primary = model["PrimaryContainer"]
        self._require_image(primary["Image"])

        def start(folder: Path, port: int) -> AbstractContextManager[Workload]:
            return self._running(
                endpoint["EndpointName"],
                image=primary["Image"],
                command=["serve"],
                environment=primary.get("Environment", {}),
                mounts=[_mount(folder / "model", "/opt/ml/model", read_only=True)],
                ports={"8080/tcp": ("127.0.0.1", port)},
                **self._limits,
            )

        return hosting.host(model, config, endpoint, port=port, start=start, on_line=on_line)

    @contextmanager
    def _running(self, name: str, **settings: Any) -> Iterator[Workload]:
        """Start a container and remove it with the context, also when Ctrl-C comes while it is being made."""
        name = f"{name}-{secrets.token_hex(4)}"
        try:
            try:
                workload = self._start(name, settings)
                try:
                    yield workload
                finally:
                    workload.stop(workloads.SERVING_GRACE_SECONDS)
            finally:
                with suppress(NotFound):  # it was never made
                    self._client.containers.get(name).remove(force=True, v=True)
        except (DockerException, RequestException) as error:
            raise WorkFailed(f"the Docker engine gave up the container {name}: {error}") from None

    def _start(self, name: str, settings: Mapping[str, Any]) -> Container:
        try:
            container = self._client.containers.create(name=name, labels={LABEL: name}, **settings)
            container.start()
        except (DockerException, RequestException) as error:
            raise SettingsError(_explain(error)) from None
        return Container(container)

    def _require_image(self, image: str) -> None:
        try:
            self._client.images.get(image)
        except ImageNotFound:
            raise SettingsError(f"there is no image {image} here: `make build` builds both images") from None

    def _gpus(self) -> list[Any]:
        """Ask for all GPUs when the engine has NVIDIA's container runtime."""
        if "nvidia" not in self._client.info().get("Runtimes", {}):
            return []
        return [DeviceRequest(count=-1, capabilities=[["gpu"]])]

    def _take_over(self, folder: Path, image: str) -> None:
        """Give the caller what the container's root wrote, which the caller alone could not even delete."""
        if all(path.lstat().st_uid == os.getuid() for path in folder.rglob("*")):
            return
        owner = f"{os.getuid()}:{os.getgid()}"
        with self._running(
            f"{folder.name}-chown",
            image=image,
            user="0",
            entrypoint=["chown", "-R", "-h", owner, "/job"],
            command=[],
            mounts=[_mount(folder, "/job")],
            network_mode="none",
        ) as container:
            while container.exit_code() is None:
                time.sleep(workloads.POLL_SECONDS)


def _explain(error: Exception) -> str:
    """Say what to do about what the engine refused."""
    text = getattr(error, "explanation", None) or str(error)
    if "bind source path does not exist" in text:
        return f"the Docker engine runs elsewhere and does not see this machine's files ({text})"
    if "port is already allocated" in text or "address already in use" in text:
        return f"the port was taken in the meantime ({text}): choose another one with --port, or --port 0"
    return f"the Docker engine refused: {text}"


def _mount(source: Path, target: str, *, read_only: bool = False) -> Any:
    return Mount(target=target, source=str(source.resolve()), type="bind", read_only=read_only)
