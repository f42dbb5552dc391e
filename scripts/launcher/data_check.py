"""A look into every picture of a data folder, done by the training wing's `check_data.py`.

Called by prepare_data.py and by the notebook, so that what a job would leave out is known before the upload.
"""

import csv
import subprocess
from pathlib import Path
from typing import TextIO

from launcher import training_programs
from launcher.errors import WorkFailed


def check(
    backend: str,
    *,
    image: str,
    data: Path,
    reports: Path,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> frozenset[str]:
    """Write the reports of a data folder; return its unreadable files, relative to it.

    What a person should look at is said on `stderr` as it is found, what there is on `stdout`. Raises
    WorkFailed where the folder cannot be trained on.
    """
    reports.mkdir(parents=True, exist_ok=True)
    data, reports = data.resolve(), reports.resolve()
    options = ["--data", str(data), "--output", str(reports)]
    command = training_programs.command(
        backend, "check_data.py", options, image=image, reads=[data], writes=reports
    )
    if (code := subprocess.run(command, stdout=stdout, stderr=stderr, check=False).returncode) != 0:
        raise WorkFailed(f"{data} cannot be trained on as it is (exit code {code}); the lines above say why")
    with (reports / "quarantine.csv").open(newline="", encoding="utf-8") as stream:
        return frozenset(row["file"] for row in csv.DictReader(stream))
