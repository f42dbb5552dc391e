"""A search whose trials are containers, also when its tuner is killed."""

import json
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest
from project import DRAWN, ROOT

from launcher.docker_backend import LABEL

SETTINGS = """
strategy = "Bayesian"
max-trials = 4
max-parallel-trials = 2
[ranges]
learning-rate = { continuous = [0.01, 0.1], scale = "Logarithmic" }
batch-size = { categorical = [16, 32] }
epochs = { integer = [1, 3] }
"""


def containers_of(client: docker.DockerClient, search: str) -> list[str]:
    everything = client.containers.list(all=True, ignore_removed=True, filters={"label": LABEL})
    return [each.name for each in everything if each.labels[LABEL].startswith(search)]


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    runs = f"--output={tmp_path / 'runs'}"
    return subprocess.Popen(
        [sys.executable, "scripts/launch_hpo.py", "--backend=docker", runs, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_search_leaves_no_container_behind_and_its_best_is_trained_on(
    images: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINER_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "hpo.toml").write_text(SETTINGS)
    small = [f"--set={each}" for each in ("backbone=efficientnet_lite0", "resize=72", "crop=64")]
    name = f"search-{time.time_ns() % 10**12}"
    tuner = start(
        tmp_path, f"--data={DRAWN}", f"--config={tmp_path / 'hpo.toml'}", f"--job-name={name}", *small
    )
    deadline = time.monotonic() + 120
    while len(containers_of(images, name)) < 2:
        assert tuner.poll() is None and time.monotonic() < deadline, tuner.communicate()[0]
        time.sleep(0.1)

    tuner.kill()
    tuner.wait()
    again = start(tmp_path, f"--attach={name}")
    output, _ = again.communicate(timeout=400)

    assert again.returncode == 0, output
    assert containers_of(images, name) == []
    folder = tmp_path / "runs" / name
    best = json.loads((folder / "best.json").read_text())
    assert best["backbone"] == "efficientnet_lite0"
    assert best["batch-size"] in {16, 32}
    rows = (folder / "trials.csv").read_text().splitlines()[1:]
    assert len(rows) == 4
    assert all(",Completed," in row or ",Stopped," in row for row in rows), rows
    request = subprocess.run(
        [
            sys.executable, "scripts/launch_training.py", f"--data={DRAWN}", "--dry-run",
            f"--hyperparameters={folder / 'best.json'}",
        ],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(request.stdout)["HyperParameters"]["learning-rate"] == json.dumps(best["learning-rate"])
