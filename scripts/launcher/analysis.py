"""The command that runs the training wing's `analyze.py` here. Called by `analyze_debug.py`."""

import os
import sys
from pathlib import Path

from launcher.job_output import JobOutput
from launcher.offline import mount

ANALYZE = Path(__file__).resolve().parents[2] / "container_train/analyze.py"


def analysis_command(backend: str, *, image: str, found: JobOutput, report: Path) -> list[str]:
    """Return the command that runs the rules on a job's output and writes its report to a folder.

    A container has no network, sees each folder under the name that it has here, so that what it prints holds
    here too, and writes as the caller.
    """
    folders = {
        flag: folder for flag, folder in (("--data", found.data), ("--tensors", found.tensors)) if folder
    }
    options = [part for flag, folder in folders.items() for part in (flag, str(folder))]
    options += ["--output", str(report)]
    if backend == "process":
        return [sys.executable, str(ANALYZE), *options]
    command = [os.environ.get("DOCKER", "docker"), "run", "--rm", "--network", "none"]
    command += ["--user", f"{os.getuid()}:{os.getgid()}", "--env", "HOME=/tmp"]
    for folder in folders.values():
        command += mount(folder, str(folder))
    command += mount(report, str(report), read_only=False)
    return [*command, image, "python", "/opt/ml/code/analyze.py", *options]
