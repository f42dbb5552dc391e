"""The serving image as SageMaker hosts it: many models within a limit, another port, a serverless machine."""

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.models.containers import Container
from PIL import Image
from project import SERVE
from tiny_artifact import write_tiny_artifact

MODELS = [f"model-{number}" for number in range(12)]
# What a serverless endpoint of 1 GB gives: little CPU, no writing but to /tmp, some user, no shared memory.
SERVERLESS: dict[str, Any] = {
    "mem_limit": "1g",
    "nano_cpus": 600_000_000,
    "read_only": True,
    "tmpfs": {"/tmp": "exec"},  # noqa: S108
    "user": "12345:12345",
    "cap_drop": ["ALL"],
    "ipc_mode": "none",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model` and, below `models`, a dozen folders, all with an intact model."""
    base = tmp_path_factory.mktemp("opt-ml")
    base.chmod(0o755)  # pytest's are for their owner alone
    for name in ("model", *(f"models/{name}/model" for name in MODELS)):
        write_tiny_artifact(base / name)
    return base


class Hosted:
    """A container of the serving image, asked through its port on this machine."""

    def __init__(self, container: Container, *, port: int) -> None:
        self.container, self._port = container, f"{port}/tcp"

    def wait_until_ready(self, timeout: float = 120) -> None:
        deadline = time.monotonic() + timeout
        while "serve: ready on port" not in self.log():
            self.container.reload()
            assert self.container.status == "running" and time.monotonic() < deadline, self.log()
            time.sleep(0.1)
        self.container.reload()

    def log(self) -> str:
        return str(self.container.logs().decode())

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        address = self.container.ports[self._port][0]["HostPort"]
        return httpx.request(
            method, f"http://127.0.0.1:{address}{path}", timeout=120, trust_env=False, **request
        )

    def ask_picture(self, path: str = "/invocations", *, pixels: int = 300) -> httpx.Response:
        picture = io.BytesIO()
        Image.effect_noise((pixels, pixels), 60).save(picture, "JPEG")
        return self.ask("POST", path, content=picture.getvalue(), headers={"Content-Type": "image/jpeg"})

    def load(self, name: str) -> httpx.Response:
        url = f"/opt/ml/models/{name}/model"
        return self.ask("POST", "/models", content=json.dumps({"model_name": name, "url": url}))

    def stopped(self) -> int:
        self.container.stop(timeout=30)
        return int(self.container.wait()["StatusCode"])


@pytest.fixture
def host(images: docker.DockerClient, containers: list[Container], folders: Path) -> Callable[..., Hosted]:
    """Starts a container with the models, as `docker run` would with these settings."""

    def started(*, port: int = 8080, **settings: Any) -> Hosted:
        volumes = {str(folders): {"bind": "/opt/ml", "mode": "ro"}}
        container = images.containers.run(
            SERVE, "serve", volumes=volumes, ports={port: ("127.0.0.1", None)}, detach=True, **settings
        )
        containers.append(container)
        hosted = Hosted(container, port=port)
        hosted.wait_until_ready()
        return hosted

    return started


def test_models_beyond_the_containers_memory_are_507_and_those_that_are_loaded_answer(
    host: Callable[..., Hosted],
) -> None:
    endpoint = host(mem_limit="640m", environment={"SAGEMAKER_MULTI_MODEL": "true"})
    loaded = []
    for name in MODELS:
        answer = endpoint.load(name)
        if answer.status_code != 200:
            break
        loaded.append(name)

    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "insufficient_memory")
    assert loaded
    assert endpoint.load(name).status_code == 507  # and nothing was left behind by the first try
    for each in loaded:
        assert endpoint.ask_picture(f"/models/{each}/invoke").status_code == 200

    assert endpoint.ask("DELETE", f"/models/{loaded[0]}").status_code == 200
    assert endpoint.load(name).status_code == 200
    assert endpoint.ask_picture(f"/models/{name}/invoke").status_code == 200
    state = endpoint.container.client.api.inspect_container(endpoint.container.id)["State"]
    assert (state["Running"], state["OOMKilled"]) == (True, False)
    assert endpoint.stopped() == 0


def test_a_port_and_a_range_of_ports_are_obeyed(host: Callable[..., Hosted]) -> None:
    environment = {"SAGEMAKER_BIND_TO_PORT": "31234", "SAGEMAKER_SAFE_PORT_RANGE": "31000-31999"}
    endpoint = host(port=31234, environment=environment)

    assert endpoint.ask("GET", "/ping").status_code == 200
    code, tables = endpoint.container.exec_run(["cat", "/proc/net/tcp", "/proc/net/tcp6"])
    listening = {
        int(words[1].rpartition(":")[2], 16)
        for words in map(str.split, tables.decode().splitlines())
        if words[3] == "0A"  # TCP_LISTEN, linux/net/tcp_states.h
    }
    assert (code, listening) == (0, {31234})


def test_a_serverless_machine_of_1_gb_is_enough(host: Callable[..., Hosted]) -> None:
    endpoint = host(**SERVERLESS)

    assert endpoint.ask_picture().status_code == 200
    four_megabytes = endpoint.ask_picture(pixels=2_700)  # the platform's limit
    assert 3_500_000 < len(four_megabytes.request.content) < 4 * 2**20
    assert four_megabytes.status_code == 200
    assert endpoint.stopped() == 0
