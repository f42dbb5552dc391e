"""Training in the image as a person starts it: several hosts, a stop, more pictures than the disk holds."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import numpy as np
import pytest
from docker.models.containers import Container
from PIL import Image
from project import DRAWN, ONE_HOST, ROOT, TRAIN, write_config

SMALL = {"backbone": "efficientnet_lite0", "resize": "72", "crop": "64", "mixed-precision": "false"}
UNFROZEN = {**SMALL, "unfreeze": "layer4", "learning-rate": "0.05"}


def launch(job: str, output: Path, *arguments: str, **settings: str) -> dict[str, Any]:
    """Run scripts/launch_training.py with containers; returns artifact.json."""
    hyperparameters = [f"--set={name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [
        sys.executable, "scripts/launch_training.py", "--backend=docker", f"--data={DRAWN}",
        f"--output={output}", f"--job-name={job}", *arguments, *hyperparameters,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (output / job / "said").write_text(done.stderr)
    artifact: dict[str, Any] = json.loads((output / job / "model/artifact.json").read_text())
    return artifact


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": "2", "dropout": "0.2"},
        {"epochs": "1", "unfreeze": "layer4", "learning-rate": "0.005"},
    ],
    ids=["frozen", "unfrozen"],
)
def test_two_hosts_train_what_one_host_trains_on_the_same_batches(
    images: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    settings = {**SMALL, "learning-rate": "0.05", "batch-size": "30", "quantise": "off", **settings}
    found = {}
    for hosts in (1, 2):
        monkeypatch.setenv("TRAINER_CACHE_DIR", str(tmp_path / f"cache{hosts}"))
        artifact = launch(f"hosts{hosts}", tmp_path, f"--instances={hosts}", **settings)
        results = tmp_path / f"hosts{hosts}" / "output/data"
        found[hosts] = artifact["metrics"], np.load(results / "test_probabilities.npy", allow_pickle=False)

    (one, alone), (two, together) = found[1], found[2]
    assert np.abs(alone - together).max() < 1e-3
    for name in ("train:loss", "train:accuracy", "validation:loss", "validation:accuracy", "test:accuracy"):
        assert two[name] == pytest.approx(one[name], abs=1e-4), name
    assert not list((tmp_path / "hosts2" / "algo-2").glob("model/*"))


def test_a_job_leaves_its_tensors_and_its_report_and_can_be_analysed_again(
    images: docker.DockerClient, tmp_path: Path
) -> None:
    launch("job", tmp_path, **SMALL, epochs="2", learning_rate="0.01")
    output = tmp_path / "job" / "output"
    analyse = [
        sys.executable, "scripts/analyze_debug.py", str(tmp_path / "job"), "--backend=docker",
        f"--output={tmp_path / 'again'}",
    ]  # fmt: skip

    done = subprocess.run(analyse, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)

    assert (output / "data/report/report.html").is_file()
    assert list((output / "tensors/events").iterdir())
    assert json.loads((output / "data/run.json").read_text())["status"] == "completed"
    found = [
        json.loads((folder / "findings.json").read_text()) for folder in (output / "data", tmp_path / "again")
    ]
    assert found[0] == found[1]
    assert done.returncode == (3 if found[0] else 0), done.stdout + done.stderr
    assert (tmp_path / "again/report/report.html").is_file()


@pytest.fixture
def job(engine: docker.DockerClient, tmp_path: Path) -> Iterator[Any]:
    """Start `train` in a container with the platform's files; returns a function of settings and options."""
    started: list[Container] = []

    def start(name: str, settings: dict[str, str], *, data: Path = DRAWN, **options: Any) -> Container:
        base = tmp_path / name
        config = base / "input/config"
        write_config(config, settings, resources=ONE_HOST, channels=["training"])
        volumes = {
            str(config): {"bind": "/opt/ml/input/config", "mode": "ro"},
            str(data): {"bind": "/opt/ml/input/data/training", "mode": "ro"},
        }
        for part in ("model", "output"):
            (base / part).mkdir()
            volumes[str(base / part)] = {"bind": f"/opt/ml/{part}", "mode": "rw"}
        container = engine.containers.run(
            TRAIN, "train", detach=True, network_mode="none", shm_size="1g", volumes=volumes,
            extra_hosts={"algo-1": "127.0.0.1"}, **options,
        )  # fmt: skip
        started.append(container)
        return container

    yield start
    for container in started:
        container.remove(force=True, v=True)


def wait_for(container: Container, text: str) -> None:
    deadline = time.monotonic() + 300
    while text not in container.logs().decode():
        container.reload()
        assert container.status == "running", container.logs().decode()
        assert time.monotonic() < deadline, container.logs().decode()
        time.sleep(0.05)


def weights(tmp_path: Path, name: str) -> str:
    return hashlib.sha256((tmp_path / name / "model/model.bin").read_bytes()).hexdigest()


def test_a_stopped_container_checkpoints_ends_well_and_goes_on_to_the_same_weights(
    images: docker.DockerClient, job: Any, tmp_path: Path
) -> None:
    settings = {**UNFROZEN, "epochs": "3", "batch-size": "10", "checkpoint-steps": "10000"}
    whole = job("whole", settings)
    assert whole.wait(timeout=600)["StatusCode"] == 0, whole.logs().decode()
    stopped = job("stopped", settings)
    wait_for(stopped, "epoch=1 ")
    time.sleep(0.5)

    asked = time.monotonic()
    stopped.stop(timeout=60)
    seconds = time.monotonic() - asked

    stopped.reload()
    log = stopped.logs().decode()
    assert stopped.attrs["State"]["ExitCode"] == 0, log
    assert "stopped by SIGTERM; the same command continues from here" in log
    assert seconds < 10
    assert not (tmp_path / "stopped/model/artifact.json").exists()
    assert not (tmp_path / "stopped/output/failure").exists()
    stopped.start()
    assert stopped.wait(timeout=600)["StatusCode"] == 0, stopped.logs().decode()
    assert "going on from the checkpoint of step " in stopped.logs().decode()
    assert weights(tmp_path, "stopped") == weights(tmp_path, "whole")


def test_a_data_set_larger_than_the_disk_is_trained_on_where_it_lies(
    images: docker.DockerClient, job: Any, tmp_path: Path
) -> None:
    """90 MB of pictures; all that the container may write to holds 32 MB besides the results."""
    random = np.random.default_rng(0)
    data = tmp_path / "large"
    for number in range(60):
        split = ("train", "train", "valid", "test")[number % 4]
        folder = data / split / f"class{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        noise = random.integers(0, 255, (700, 720, 3)).astype(np.uint8)
        noise[..., number % 3] //= 4
        Image.fromarray(noise).save(folder / f"{number}.png", compress_level=0)
    size = sum(file.stat().st_size for file in data.rglob("*.png"))
    assert size > 80_000_000

    writable = dict.fromkeys(("/opt/ml/checkpoints", "/tmp"), "size=16m")  # noqa: S108
    container = job("small", {**SMALL, "epochs": "1"}, data=data, read_only=True, tmpfs=writable)

    assert container.wait(timeout=600)["StatusCode"] == 0, container.logs().decode()
    assert (tmp_path / "small/model/artifact.json").exists()
