"""The serving container, with a tiny model, while clients ask it: a stop, and what is killed inside it."""

import json
import time
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from fuzzed import pictures
from project import SERVE, folder, wait_until_ready
from running_server import Clients
from tiny_artifact import write_tiny_artifact

# Run inside: kills one worker (a grandchild of Java), and prints after how many seconds there are two again.
KILL_A_WORKER = """
import psutil, time
java = next(each for each in psutil.process_iter() if each.name() == "java")
def workers():
    return {worker.pid for child in java.children() for worker in child.children()}
killed = min(workers())
psutil.Process(killed).kill()
began = time.monotonic()
while len(workers() - {killed}) < 2 and time.monotonic() < began + 20:
    time.sleep(0.02)
print(time.monotonic() - began)
"""
KILL_JAVA = "import psutil; [each.kill() for each in psutil.process_iter() if each.name() == 'java']"


@pytest.fixture
def server(images: docker.DockerClient, containers: list[Container], tmp_path: Path) -> Container:
    """An endpoint of two workers, ready."""
    write_tiny_artifact(tmp_path / "model")
    started = images.containers.run(
        SERVE,
        "serve",
        volumes=folder(tmp_path / "model", "/opt/ml/model"),
        environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "2"},
        detach=True,
    )
    containers.append(started)
    wait_until_ready(started)
    started.reload()
    return started


def _clients(server: Container, *, count: int) -> Clients:
    """Clients of the container's own address: a published port's proxy takes what nobody has accepted."""
    networks = server.attrs["NetworkSettings"]["Networks"]
    (address,) = [network["IPAddress"] for network in networks.values()]
    return Clients(8080, pictures()["JPEG 0"], count=count, host=address)


def _run(server: Container, program: str) -> str:
    code, output = server.exec_run(["python", "-c", program])
    assert code == 0, output.decode()
    return output.decode()


def _logged(server: Container) -> list[int]:
    """The status of each request that nginx has accepted."""
    lines = [line for line in server.logs().decode().splitlines() if line.startswith("{")]
    return [entry["status"] for entry in map(json.loads, lines) if entry["path"] == "/invocations"]


def test_a_stop_under_32_clients_loses_nothing_that_was_accepted(server: Container) -> None:
    with _clients(server, count=32) as clients:
        clients.wait_for_answers(200)
        began = time.monotonic()
        server.stop(timeout=29)  # as long as the platform waits before it kills
        took = time.monotonic() - began
    assert server.wait()["StatusCode"] == 0
    assert took < 25
    assert set(clients.statuses) == {200}
    assert not clients.lost
    assert clients.refused == 32
    assert len(_logged(server)) == clients.statuses[200]


def test_a_killed_java_ends_the_container(server: Container) -> None:
    began = time.monotonic()
    _run(server, KILL_JAVA)
    code = server.wait(timeout=30)["StatusCode"]
    assert time.monotonic() - began < 10
    assert code == 1
    assert "the model server was killed by signal 9" in server.logs().decode()


def test_a_killed_worker_costs_only_what_it_held_and_is_back_within_3_seconds(server: Container) -> None:
    with _clients(server, count=8) as clients:
        clients.wait_for_answers(50)
        took = float(_run(server, KILL_A_WORKER))
        clients.wait_for_answers(50)
    assert took < 3
    assert clients.statuses.keys() <= {200, 500}
    assert clients.statuses[500] <= 1
    assert not clients.lost + clients.closed
