"""What a training job would leave out, found by its own look into every picture."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_photographs import Photographs


def look(photographs: Photographs) -> Iterator[str]:
    """Look into every picture; raises WorkFailed where nothing can."""
    yield from (f"{name} cannot be read" for name in sorted(photographs.look().unreadable))


CHECK = Check(
    name="pictures",
    holds="every picture can be read",
    severity=Severity.WARNING,
    remedy="repair or remove it; prepare_data.py --scan --upload leaves it out",
    source="docs/training.md",
    look=look,
)
