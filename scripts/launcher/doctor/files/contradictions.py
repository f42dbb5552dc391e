"""Of a picture that stands in two classes at least one tells the network what is wrong."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_photographs import Photographs


def look(photographs: Photographs) -> Iterator[str]:
    """Count them, as the job's own look into every picture found them."""
    if count := photographs.seen.contradictory:
        yield f"{count:,} {'picture stands' if count == 1 else 'pictures stand'} in more than one class"


CHECK = Check(
    name="contradictions",
    holds="no picture stands in more than one class",
    severity=Severity.WARNING,
    remedy="remove it where it is wrong; prepare_data.py --data FOLDER --scan lists them in duplicates.csv",
    source="docs/training.md",
    look=look,
)
