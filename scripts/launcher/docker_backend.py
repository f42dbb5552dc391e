"""Carries requests out with containers on this machine, under the /opt/ml contract.

Every container and network has a unique name and the label `dog-breeds.launcher`, so that whatever a power
cut leaves behind can be found: `docker ps -a --filter label=dog-breeds.launcher` (`docker network ls …`).
"""

import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from docker.errors import APIError, DockerException, NotFound
from docker.types import DeviceRequest, Mount
from requests.exceptions import RequestException

from launcher import cache, docker_engine, hosting, jobs, layout, workloads
from launcher.errors import SettingsError, WorkFailed
from launcher.hosting import RunningEndpoint
from launcher.jobs import FinishedJob
from launcher.requests import CHECKPOINTS, Request
from launcher.workloads import OnLine, Workload

LABEL = "dog-breeds.launcher"
CACHE = "/opt/ml/cache"  # where a job's container sees this machine's cache folder


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

    def ended_at(self) -> float:
        """Return when the container ended, as its engine saw it."""
        ended: str = self._container.attrs["State"]["FinishedAt"]
        return datetime.fromisoformat(ended).timestamp()

    def terminate(self) -> None:
        """SIGTERM to the container's first process."""
        self._signal("SIGTERM")

    def kill(self) -> None:
        """SIGKILL to all of the container."""
        self._signal("SIGKILL")

    def _signal(self, name: str) -> None:
        if self.exit_code() is not None:
            return
        try:
            self._container.kill(name)
        except APIError:
            if self.exit_code() is None:  # it did not merely end in the meantime
                raise


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

    def check(self, job: Request) -> None:
        """Raise SettingsError for an image that is not here."""
        self._require_image(job["AlgorithmSpecification"]["TrainingImage"])

    def train(
        self,
        request: Request,
        runs: Path,
        on_line: OnLine,
        *,
        cancel: threading.Event | None = None,
        parallel: int = 1,
    ) -> FinishedJob:
        """Run a CreateTrainingJob request, a container a host; its files belong to the caller afterwards."""
        channels = layout.channels(request)
        cached = cache.folder(os.environ)
        self.check(request)

        def start(folders: Mapping[str, Path]) -> AbstractContextManager[Mapping[str, Workload]]:
            return self._training(request, folders, channels, cached, parallel)

        hosts = [f"algo-{number + 1}" for number in range(request["ResourceConfig"]["InstanceCount"])]
        return jobs.carry_out(request, runs, hosts=hosts, start=start, on_line=on_line, cancel=cancel)

    @contextmanager
    def _training(
        self,
        request: Request,
        folders: Mapping[str, Path],
        channels: Mapping[str, Path],
        cached: Path,
        parallel: int,
    ) -> Iterator[Mapping[str, Workload]]:
        image = request["AlgorithmSpecification"]["TrainingImage"]
        job = next(iter(folders.values()))
        shared = _shared_mounts(request, channels, job / "checkpoints", cached)
        settings = {
            "image": image,
            "command": ["train"],
            "environment": {
                "TRAINING_JOB_NAME": request["TrainingJobName"],
                cache.VARIABLE: CACHE,
                jobs.PARALLEL: str(parallel),
                **request.get("Environment", {}),
            },
            "shm_size": "2g",  # the loader's worker processes pass batches through shared memory
            "device_requests": self._gpus(),
        }
        try:
            with self._joined(request, list(folders)) as networks:
                each = {
                    host: {**settings, **networks[host], "mounts": _own_mounts(folder) + shared}
                    for host, folder in folders.items()
                }
                with self._running_together(
                    request["TrainingJobName"], each, grace_seconds=workloads.INTERRUPT_GRACE_SECONDS
                ) as running:
                    yield running
        finally:
            self._take_over(job.name, job, image)
            for folder in ((job / "checkpoints").resolve(), cached):
                if not folder.is_relative_to(job):
                    self._take_over(job.name, folder, image, of=0)

    @contextmanager
    def _joined(self, request: Request, hosts: Sequence[str]) -> Iterator[dict[str, dict[str, Any]]]:
        """Yield each host's network settings; several hosts share a network that is removed afterwards."""
        isolated = request.get("EnableNetworkIsolation", True)
        if len(hosts) == 1:
            # Without a network nothing else resolves the host's name.
            alone = {
                "extra_hosts": {hosts[0]: "127.0.0.1"},
                "network_mode": "none" if isolated else "bridge",
            }
            yield {hosts[0]: {"hostname": hosts[0], **alone}}
            return
        with network(self._client, request["TrainingJobName"], internal=isolated) as name:
            yield {
                host: {
                    "hostname": host,
                    "network": name,
                    "networking_config": {name: self._client.api.create_endpoint_config(aliases=[host])},
                }
                for host in hosts
            }

    def clear(self, job: str) -> None:
        """Remove the containers of a job whose launcher was killed; nothing else stops them."""
        for container in self._client.containers.list(
            all=True, ignore_removed=True, filters={"label": LABEL}
        ):
            if container.labels[LABEL].startswith(f"{job}-"):
                remove(self._client, container.name)

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
        """Start a container and remove it with the context."""
        together = self._running_together(name, {"": settings}, grace_seconds=workloads.SERVING_GRACE_SECONDS)
        with together as running:
            yield running[""]

    @contextmanager
    def _running_together(
        self, name: str, each: Mapping[str, Mapping[str, Any]], *, grace_seconds: float
    ) -> Iterator[dict[str, Workload]]:
        """Start a container for each host's settings; they are stopped together and removed with the context.

        They are removed also when Ctrl-C comes while one is being made.
        """
        name = f"{name}-{secrets.token_hex(4)}"
        running: dict[str, Workload] = {}
        try:
            with ExitStack() as removals:
                try:
                    for host, settings in each.items():
                        unique = f"{name}-{host}" if host else name
                        removals.callback(remove, self._client, unique)
                        running[host] = self._start(unique, settings)
                    yield running
                finally:
                    workloads.stop(running.values(), grace_seconds=grace_seconds)
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
        docker_engine.find(self._client, image, how="`make build` builds both images")

    def _gpus(self) -> list[Any]:
        """Ask for all GPUs when the engine has NVIDIA's container runtime."""
        if "nvidia" not in self._client.info().get("Runtimes", {}):
            return []
        return [DeviceRequest(count=-1, capabilities=[["gpu"]])]

    def _take_over(self, job: str, folder: Path, image: str, *, of: int | None = None) -> None:
        """Give the caller what a container's root wrote, which the caller alone could not even delete.

        Of a folder that others use too, only what belongs to the user `of`.
        """
        foreign = _owners(folder) - {os.getuid()}
        if not foreign or (of is not None and of not in foreign):
            return
        owner = f"{os.getuid()}:{os.getgid()}"
        with self._running(
            f"{job}-chown",
            image=image,
            user="0",
            entrypoint=["chown", "-R", "-h", *([] if of is None else [f"--from={of}"]), owner, "/folder"],
            command=[],
            mounts=[_mount(folder, "/folder")],
            network_mode="none",
        ) as container:
            while container.exit_code() is None:
                time.sleep(workloads.POLL_SECONDS)


@contextmanager
def network(client: Any, name: str, *, internal: bool) -> Iterator[str]:
    """Make a bridge network, with no way out if it is internal, and remove it with the context."""
    name = f"{name}-{secrets.token_hex(4)}"
    try:
        try:
            client.networks.create(name, driver="bridge", internal=internal, labels={LABEL: name})
        except (DockerException, RequestException) as error:
            raise SettingsError(_explain(error)) from None
        yield name
    finally:
        with suppress(NotFound):  # it was never made
            client.networks.get(name).remove()


def remove(client: Any, name: str) -> None:
    """Remove a container, whatever it does; none of that name is as good."""
    with suppress(NotFound):  # it was never made
        container = client.containers.get(name)
        try:
            container.remove(force=True, v=True)
        except APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
            container.wait(condition="removed", timeout=60)  # another process is removing it


def _owners(folder: Path) -> set[int]:
    """Return the users who own what is below a folder, which another job may be changing."""
    owners = set()
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                owners.add(Path(parent, name).lstat().st_uid)
    return owners


def _explain(error: Exception) -> str:
    """Say what to do about what the engine refused."""
    text = getattr(error, "explanation", None) or str(error)
    if "bind source path does not exist" in text:
        return f"the Docker engine runs elsewhere and does not see this machine's files ({text})"
    if "port is already allocated" in text or "address already in use" in text:
        return f"the port was taken in the meantime ({text}): choose another one with --port, or --port 0"
    return f"the Docker engine refused: {text}"


def _own_mounts(folder: Path) -> list[Any]:
    """Return what one host has for itself."""
    config = _mount(folder / "input/config", "/opt/ml/input/config", read_only=True)
    return [config, *(_mount(folder / part, f"/opt/ml/{part}") for part in ("model", "output"))]


def _shared_mounts(
    request: Request, channels: Mapping[str, Path], checkpoints: Path, cached: Path
) -> list[Any]:
    """Return what all hosts of a job share."""
    inside = request.get("CheckpointConfig", {}).get("LocalPath", CHECKPOINTS)
    return [
        _mount(checkpoints, inside),
        _mount(cached, CACHE),
        *(_mount(source, f"/opt/ml/input/data/{name}", read_only=True) for name, source in channels.items()),
    ]


def _mount(source: Path, target: str, *, read_only: bool = False) -> Any:
    return Mount(target=target, source=str(source.resolve()), type="bind", read_only=read_only)
