"""A network knows by heart what it was trained on, and is right about copies of that more often."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_photographs import Photographs


def look(photographs: Photographs) -> Iterator[str]:
    """Count them by split, as the job's own look into every picture found them."""
    for split, count in photographs.seen.copies.items():
        are = "picture of {} is" if count == 1 else "pictures of {} are"
        yield f"{count:,} {are.format(split)} also in train: the measured accuracy is too high"


CHECK = Check(
    name="copies",
    holds="no picture of valid or test is also in train",
    severity=Severity.WARNING,
    remedy="remove it there; prepare_data.py --data FOLDER --scan lists them in duplicates.csv",
    source="docs/training.md",
    look=look,
)
