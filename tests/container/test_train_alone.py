"""`docker run IMAGE train` without SageMaker and without the launcher: what is missing is said, and fails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from project import DRAWN, ONE_HOST, TRAIN, write_config

KNOWN_HOST = {"algo-1": "127.0.0.1"}  # without a network nobody else tells
Train = Callable[..., tuple[int, str]]


@pytest.fixture
def train(images: docker.DockerClient) -> Iterator[Train]:
    """Run `train` in a container of its own; returns the exit code and what it printed."""
    started: list[Container] = []

    def run(**options: Any) -> tuple[int, str]:
        job = images.containers.run(TRAIN, "train", network_mode="none", detach=True, **options)
        started.append(job)
        return job.wait(timeout=120)["StatusCode"], job.logs().decode()

    yield run
    for container in started:
        container.remove(force=True, v=True)


def mounts(config: Path, **hyperparameters: str) -> dict[str, dict[str, str]]:
    """The configuration that SageMaker would write, and the drawn pictures; no folder for the results."""
    write_config(config, hyperparameters, resources=ONE_HOST, channels=["training"])
    return {
        str(config): {"bind": "/opt/ml/input/config", "mode": "ro"},
        str(DRAWN): {"bind": "/opt/ml/input/data/training", "mode": "ro"},
    }


def test_nothing_given_fails_and_says_what_the_platform_gives_and_what_a_person_runs(train: Train) -> None:
    code, output = train()

    assert code == 1
    assert output.startswith("error: /opt/ml/input/config lacks hyperparameters.json, ")
    assert "SageMaker writes" in output
    assert "`make train` or scripts/launch_training.py" in output
    assert output.count("\n") == 1


def test_one_missing_file_is_named_and_the_failure_file_says_the_same(train: Train, tmp_path: Path) -> None:
    volumes = mounts(tmp_path / "config")
    (tmp_path / "config" / "resourceconfig.json").unlink()
    (tmp_path / "output").mkdir()
    volumes[str(tmp_path / "output")] = {"bind": "/opt/ml/output", "mode": "rw"}

    code, output = train(volumes=volumes)

    assert code == 1
    assert output.startswith("error: /opt/ml/input/config lacks resourceconfig.json, which")
    assert output == "error: " + (tmp_path / "output" / "failure").read_text()


def test_a_wrong_setting_without_an_output_folder_is_not_taken_for_success(
    train: Train, tmp_path: Path
) -> None:
    code, output = train(volumes=mounts(tmp_path / "config", backbone="resnet5O"), extra_hosts=KNOWN_HOST)

    assert code == 1
    assert "error: unknown backbone 'resnet5O'" in output


def test_the_wait_for_a_host_name_is_announced(
    images: docker.DockerClient, containers: list[Container], tmp_path: Path
) -> None:
    job = images.containers.run(
        TRAIN, "train", volumes=mounts(tmp_path / "config"), network_mode="none", detach=True
    )
    containers.append(job)

    log = b""
    for piece in job.logs(stream=True):  # the client gives up after a minute of silence
        log += piece
        if b"waiting up to 15 minutes for the host name algo-1" in log:
            break

    job.reload()
    assert job.status == "running", log.decode()


@pytest.mark.parametrize(
    ("options", "place", "reason"),
    [
        ({"user": "1000"}, "/opt/ml/output cannot be written by user 1000", "Permission denied"),
        ({"read_only": True}, "/opt/ml/output cannot be written by user 0", "Read-only file system"),
        (
            {"read_only": True, "tmpfs": {"/opt/ml/output": ""}},
            "/opt/ml/model cannot be written by user 0",
            "Read-only file system",
        ),
    ],
)
def test_a_folder_for_results_that_cannot_be_written_is_named_before_anything_starts(
    train: Train, tmp_path: Path, options: dict[str, Any], place: str, reason: str
) -> None:
    code, output = train(volumes=mounts(tmp_path / "config"), **options)

    assert code == 1
    assert output == f"error: {place} ({reason}): mount a folder there that this user may write to\n"
