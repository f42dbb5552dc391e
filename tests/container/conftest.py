"""One run of the demo, made once for all container tests, and what starts containers for one of them."""

from collections.abc import Iterator

import docker
import pytest
from docker.models.containers import Container
from project import SERVE, DemoRun, run_make

from launcher import endpoint_requests
from launcher.docker_backend import LABEL, DockerBackend
from launcher.hosting import RunningEndpoint


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Jobs of these tests leave a person's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINER_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def demo(images: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """`make demo` with containers, on the drawn set, and what it left that was not there before."""
    before = _container_names(images)
    runs = tmp_path_factory.mktemp("demo") / "runs"
    done = run_make("demo", "BACKEND=docker", "BACKBONE=efficientnet_lite0", f"OUTPUT={runs}")
    assert done.returncode == 0, done.stdout + done.stderr
    left = sorted(_container_names(images) - before)
    return DemoRun(done.stdout, done.stderr, (runs / "latest").resolve(), left)


def _container_names(client: docker.DockerClient) -> set[str]:
    return {
        each.name for each in client.containers.list(all=True, ignore_removed=True, filters={"label": LABEL})
    }


@pytest.fixture
def containers(engine: docker.DockerClient) -> Iterator[list[Container]]:
    """A list whose containers are removed after the test."""
    started: list[Container] = []
    yield started
    for container in started:
        container.remove(force=True, v=True)


@pytest.fixture(scope="session")
def endpoint(demo: DemoRun) -> Iterator[RunningEndpoint]:
    """The demo's model behind an endpoint in a container."""
    requests = endpoint_requests.on_this_machine(SERVE, demo.job / "output/model.tar.gz")
    with DockerBackend().deploy(*requests, port=0, on_line=lambda _: None) as running:
        yield running
