"""A look into every picture of a data folder, done by the training wing's `check_data.py`.

Called by prepare_data.py, the notebook and the doctor, so that what a job would leave out is known before the
upload.
"""

import csv
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from launcher import training_programs
from launcher.errors import WorkFailed

QUARANTINE, DUPLICATES, CLASSES = "quarantine.csv", "duplicates.csv", "classes.csv"  # written in this order
_TRAINED_ON = "train"


def check(
    backend: str,
    *,
    image: str,
    data: Path,
    reports: Path,
    max_unreadable: float = 1,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> frozenset[str]:
    """Write the reports of a data folder; return its unreadable files, relative to it.

    What a person should look at is said on `stderr` as it is found, what there is on `stdout`. Raises
    WorkFailed where the folder cannot be trained on, or of a split a larger share than `max_unreadable`
    cannot be read.
    """
    reports.mkdir(parents=True, exist_ok=True)
    data, reports = data.resolve(), reports.resolve()
    options = ["--data", str(data), "--output", str(reports)]
    options += ["--max-unreadable", str(max_unreadable)]
    command = training_programs.command(
        backend, "check_data.py", options, image=image, reads=[data], writes=reports
    )
    if (code := subprocess.run(command, stdout=stdout, stderr=stderr, check=False).returncode) != 0:
        raise WorkFailed(f"{data} cannot be trained on as it is (exit code {code}); the lines above say why")
    return unreadable(reports)


def unreadable(reports: Path) -> frozenset[str]:
    """Return the files that reports name as unreadable, relative to the data folder."""
    return frozenset(row["file"] for row in _rows(reports / QUARANTINE))


def copies(reports: Path) -> Mapping[str, int]:
    """Return how many pictures of each other split are also in train, as reports say."""
    rows = _rows(reports / DUPLICATES)
    trained_on = {row["digest"] for row in rows if row["split"] == _TRAINED_ON}
    return Counter(
        row["split"] for row in rows if row["digest"] in trained_on and row["split"] != _TRAINED_ON
    )


def contradictory(reports: Path) -> int:
    """Return how many pictures stand in more than one class, as reports say."""
    return len({row["digest"] for row in _rows(reports / DUPLICATES) if int(row["classes"]) > 1})


def _rows(report: Path) -> list[dict[str, str]]:
    with report.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
