"""What a training job would leave out, found by its own look into every picture."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_photographs import Photographs

_SHOWN = 10


def look(photographs: Photographs) -> Iterator[str]:
    """Look into every picture; raises WorkFailed where nothing can."""
    unreadable = sorted(photographs.look().unreadable)
    yield from (f"{name} cannot be read" for name in unreadable[:_SHOWN])
    if rest := unreadable[_SHOWN:]:
        yield f"and {len(rest):,} more, {len(unreadable):,} in all: prepare_data.py --scan lists them"


CHECK = Check(
    name="pictures",
    holds="every picture can be read",
    severity=Severity.WARNING,
    remedy="repair or remove it; prepare_data.py --scan --upload leaves it out",
    source="docs/training.md",
    look=look,
)
