"""The checkout as container tests see it: its images' names, its tasks, and what a demo leaves behind."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.models.containers import Container

ROOT = Path(__file__).resolve().parents[2]
DRAWN = ROOT / "data/drawn"
TAG = os.environ.get("TAG", "latest")  # `make test TAG=…` tests images of another name
TRAIN, SERVE = f"dog-breeds-train:{TAG}", f"dog-breeds-serve:{TAG}"


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


ONE_HOST = {"current_host": "algo-1", "hosts": ["algo-1"]}


def write_config(
    folder: Path, hyperparameters: Mapping[str, str], *, resources: Mapping[str, Any], channels: Sequence[str]
) -> None:
    """Write what the platform writes into /opt/ml/input/config before a job."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "hyperparameters": hyperparameters,
        "inputdataconfig": {channel: {"TrainingInputMode": "File"} for channel in channels},
        "resourceconfig": resources,
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def folder(path: Path, target: str, mode: str = "ro") -> dict[str, dict[str, str]]:
    """A volume of `docker run`."""
    return {str(path): {"bind": target, "mode": mode}}


def wait_until_ready(server: Container) -> None:
    """Wait for the server's own word."""
    deadline = time.monotonic() + 120
    while "ready on port 8080" not in server.logs().decode():
        server.reload()
        assert server.status == "running" and time.monotonic() < deadline, server.logs().decode()
        time.sleep(0.1)


@dataclass(frozen=True)
class DemoRun:
    """What one `make demo` printed, the folder of its training job, and the containers it left behind."""

    stdout: str
    stderr: str
    job: Path
    containers_left: list[str]

    @property
    def artifact(self) -> dict[str, Any]:
        """The artifact's description."""
        content: dict[str, Any] = json.loads((self.job / "model/artifact.json").read_text())
        return content
