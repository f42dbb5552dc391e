"""The two images and one run of the demo, made once for all container tests.

These tests share one pytest-xdist group, so that one worker builds and runs containers while the others run
unit tests.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException
from docker.models.containers import Container

from launcher.arguments import endpoint_requests
from launcher.docker_backend import DockerBackend
from launcher.hosting import RunningEndpoint

ROOT = Path(__file__).resolve().parents[2]
TRAIN, SERVE = "dog-breeds-train:latest", "dog-breeds-serve:latest"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep whatever uses the images in one worker."""
    for item in items:
        if "images" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("images"))


def run_make(*arguments: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run a task of the Makefile as a person would, and return what it printed."""
    # The outer make's flags (its job server among them) are no business of the inner one.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A Docker engine, or a skip that says there is none."""
    try:
        client = docker.from_env()
    except DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def images(engine: docker.DockerClient) -> docker.DockerClient:
    """An engine that has both images, built from this checkout."""
    built = run_make("build")
    assert built.returncode == 0, built.stderr
    return engine


@dataclass(frozen=True)
class DemoRun:
    """What one `make demo` printed, and the folder of its training job."""

    stdout: str
    stderr: str
    job: Path

    @property
    def artifact(self) -> dict[str, object]:
        """The artifact's description."""
        content: dict[str, object] = json.loads((self.job / "model/artifact.json").read_text())
        return content


@pytest.fixture(scope="session")
def demo(images: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """`make demo` with containers, on the drawn set."""
    runs = tmp_path_factory.mktemp("demo") / "runs"
    done = run_make("demo", "BACKEND=docker", "BACKBONE=efficientnet_lite0", f"OUTPUT={runs}")
    assert done.returncode == 0, done.stdout + done.stderr
    return DemoRun(done.stdout, done.stderr, (runs / "latest").resolve())


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
    requests = endpoint_requests(SERVE, demo.job / "output/model.tar.gz")
    with DockerBackend().deploy(*requests, port=0, on_line=lambda _: None) as running:
        yield running
