"""docs/local-mode.md is run: its programs, in their order, in this process, with containers."""

import base64
import io
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import numpy as np
import pytest
from attempts import watched_attempts
from project import DRAWN, ROOT, TAG, run_make

from launcher import local_mode

PAGE = ROOT / "docs/local-mode.md"
NETWORK = "sagemaker-local"
NPY = "application/x-npy"
PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# The SDK starts its endpoint's container in a thread, which ends as its compose does when that is stopped.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@dataclass
class Page:
    """The page's programs, and what they have left in their variables."""

    stand_ins: dict[str, str]  # for words of the page
    variables: dict[str, Any] = field(default_factory=dict)

    def run(self, number: int) -> dict[str, Any]:
        """Run one of the programs, and return the variables of all so far."""
        program = PROGRAM.findall(PAGE.read_text(encoding="utf-8"))[number]
        for word, stand_in in self.stand_ins.items():
            program = program.replace(word, stand_in)
        exec(compile(program, PAGE, "exec"), self.variables)  # noqa: S102 - the page's own
        return self.variables

    def ask(self, body: bytes, content_type: str, accept: str = "application/json") -> tuple[int, bytes]:
        """What the endpoint answers: its status, and the body."""
        answer = self.variables["runtime"].invoke_endpoint(
            EndpointName="dogs", Body=body, ContentType=content_type, Accept=accept
        )
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def without_account(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, on a machine whose owner has no account at AWS and has set nothing."""
    folder = tmp_path_factory.mktemp("local-mode")
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith(("AWS_", "SAGEMAKER_"))]:
            patch.delenv(name)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
        patch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
        for name, value in local_mode.environment(os.environ).items():
            patch.setenv(name, value)
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def outside(without_account: Path) -> Iterator[list[str]]:
    """Hosts outside this machine that this process has tried to reach."""
    with watched_attempts() as hosts:
        yield hosts


@pytest.fixture(scope="module")
def clean_engine(images: docker.DockerClient, without_account: Path) -> Iterator[docker.DockerClient]:
    """An engine on which no container of this folder, and no network of the SDK's, is left."""
    networks = images.networks.list(names=[NETWORK])
    yield images
    for container in images.containers.list(
        all=True, ignore_removed=True, filters={"label": "com.docker.compose.project"}
    ):
        if container.labels["com.docker.compose.project.working_dir"].startswith(str(without_account)):
            container.remove(force=True, v=True)
    for network in images.networks.list(names=[NETWORK]):
        if network not in networks:
            network.remove()


@pytest.fixture(scope="module")
def page(clean_engine: docker.DockerClient, without_account: Path, outside: list[str]) -> Page:
    """The page, in a folder beside the drawn pictures."""
    drawn = run_make("data/drawn")
    assert drawn.returncode == 0, drawn.stderr
    (without_account / "data").symlink_to(DRAWN.parent)
    quickly = '"epochs": 2, "quantise": "off"'
    return Page({":latest": f":{TAG}", "8080": str(free_port()), '"epochs": 5': quickly})


@pytest.fixture(scope="module")
def trained(page: Page) -> Path:
    """What the first program leaves."""
    return Path(page.run(0)["folder"])


@pytest.fixture(scope="module")
def endpoint(page: Page, trained: Path) -> Iterator[Page]:
    """The page with the endpoint of its second program."""
    page.run(1)
    yield page
    page.run(3)


def artifact(folder: Path) -> dict[str, Any]:
    file = folder / "artifacts/model/artifact.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def class_names(folder: Path) -> list[str]:
    return [each["name"] for each in artifact(folder)["classes"]]


def test_a_job_leaves_its_model_its_report_and_no_failure(trained: Path) -> None:
    assert artifact(trained)["report_card"]["accuracy"] > 0.5
    assert (trained / "compressed_artifacts/model.tar.gz").is_file()
    assert (trained / "artifacts/output/data/report/report.html").is_file()
    assert not (trained / "artifacts/output/failure").exists()


def test_two_containers_share_the_pictures_and_train_the_same_model(
    page: Page, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = {"instance_count=1": "instance_count=2", "runs/local-mode": "runs/two"}
    two = Path(Page(page.stand_ins | words).run(0)["folder"])

    log = capfd.readouterr().out
    for host in ("algo-1-1", "algo-2-1"):
        assert re.search(rf"{host} +\| features of train: 144 pictures", log), log
    assert class_names(two) == class_names(trained)
    assert artifact(two)["report_card"]["accuracy"] == artifact(trained)["report_card"]["accuracy"]


def test_a_photograph_is_answered(endpoint: Page, trained: Path) -> None:
    assert endpoint.variables["best"]["name"] in class_names(trained)


def test_json_is_answered_as_the_file_is(endpoint: Page) -> None:
    file = endpoint.variables["photograph"].read_bytes()
    body = json.dumps({"instances": [{"b64": base64.b64encode(file).decode()}]}).encode()

    answers = [endpoint.ask(file, "image/jpeg"), endpoint.ask(body, "application/json")]

    assert [status for status, _ in answers] == [200, 200]
    assert answers[0][1] == answers[1][1]


def test_the_array_of_the_numpy_serialiser_has_the_best_class_of_the_file(
    endpoint: Page, trained: Path
) -> None:
    variables = endpoint.run(2)

    first, best = variables["top_5"][0], variables["best"]
    assert variables["normalised"].dtype == np.float64
    assert class_names(trained)[first] == best["name"]
    assert variables["probabilities"][first] == pytest.approx(best["probability"], abs=0.05)


def test_float32_has_the_same_logits_as_float64(endpoint: Page) -> None:
    variables = endpoint.run(2)
    array = variables["normalised"].transpose(2, 0, 1)[np.newaxis].astype(np.float32)

    status, body = endpoint.ask(variables["serializer"].serialize(array), NPY, NPY)

    assert status == 200
    np.testing.assert_array_equal(np.load(io.BytesIO(body))[0], variables["logits"])


def test_an_error_is_told_by_its_status(endpoint: Page) -> None:
    status, body = endpoint.ask(b"a dog", "text/plain")

    assert status == 415
    assert "application/x-npy" in json.loads(body)["error"]["message"]


def test_nobody_outside_is_told_or_asked_anything(endpoint: Page, outside: list[str]) -> None:
    assert outside == []


def test_without_the_configuration_the_sdk_would_report_and_the_test_would_see_it(
    without_account: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sagemaker.core.local import LocalSession

    (tmp_path / "config.yaml").write_text("SchemaVersion: '1.0'\n", encoding="utf-8")
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(tmp_path / "config.yaml"))
    with watched_attempts() as outside:
        LocalSession().sagemaker_client.create_model(ModelName="reported", PrimaryContainer={})
        for thread in threading.enumerate():
            if thread.name == "sagemaker-telemetry":
                thread.join(60)

    assert outside
