"""The training wing's small programs, run here: in the training image, or as processes.

Called by `analysis` and `data_check`.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.offline import mount

FOLDER = Path(__file__).resolve().parents[2] / "container_train"


def command(
    backend: str, program: str, options: Sequence[str], *, image: str, reads: Sequence[Path], writes: Path
) -> list[str]:
    """Return the command that runs a program such as `analyze.py`, which reads some folders and writes one.

    A container has no network, sees each folder under the name that it has here, so that what it prints holds
    here too, and writes as the caller.
    """
    if backend == "process":
        return [sys.executable, str(FOLDER / program), *options]
    run = [os.environ.get("DOCKER", "docker"), "run", "--rm", "--network", "none"]
    run += ["--user", f"{os.getuid()}:{os.getgid()}", "--env", "HOME=/tmp"]
    for folder in reads:
        run += mount(folder, str(folder))
    run += mount(writes, str(writes), read_only=False)
    return [*run, image, "python", f"/opt/ml/code/{program}", *options]
