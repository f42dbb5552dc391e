"""A job ends before it begins where too much of a split cannot be read, or a class has no picture left."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_photographs import MAX_UNREADABLE, Photographs


def look(photographs: Photographs) -> Iterator[str]:
    """See whether the job's own look ended in a refusal."""
    if refused := photographs.seen.refused:
        yield refused


CHECK = Check(
    name="enough",
    holds=f"a job would begin: {1 - MAX_UNREADABLE:.0%} of each split can be read, and some of every class",
    severity=Severity.ERROR,
    remedy="repair or remove what cannot be read; a class without a picture goes from every split",
    source="docs/training.md",
    look=look,
)
