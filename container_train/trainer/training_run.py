"""How a model came about: settings, versions, revision, machine; for artifact.json and the report.

Called by `trainer.job` and `trainer.observation`.
"""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from trainer.config import Hyperparameters
from trainer.cpus import cpu_limit
from trainer.machine import Machine

_PACKAGES = (
    "torch", "torchvision", "timm", "numpy", "pillow", "openvino", "smdebug", "sagemaker-training",
)  # fmt: skip


def training_run(settings: Hyperparameters) -> dict[str, Any]:
    """The `training_run` object of artifact.json."""
    return {
        "job_name": os.environ.get("TRAINING_JOB_NAME"),
        "hyperparameters": settings.as_dict(),
        "seed": settings.seed,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "openvino")},
    }


def _git_revision() -> str | None:
    """GIT_REVISION of the image, or the checkout's."""
    if revision := os.environ.get("GIT_REVISION"):
        return revision
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Version of Python and of each package that had a part, where it is installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # the debugger's is not needed where it is off
            continue
    return found


def machine_of(machine: Machine) -> dict[str, Any]:
    """The machine as a person would name it."""
    cuda = machine.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(machine.device) if cuda else "cpu",
        "processor": _processor(),
        "cpus": cpu_limit(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "processes": machine.group.size,
        "precision": str(machine.precision).removeprefix("torch."),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
