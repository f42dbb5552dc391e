"""A job ends before it begins where a class has no picture left."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_photographs import Photographs


def look(photographs: Photographs) -> Iterator[str]:
    """See whether the job's own look ended in a refusal."""
    if refused := photographs.seen.refused:
        yield refused


CHECK = Check(
    name="classes",
    holds="every class of every split has pictures that can be read",
    severity=Severity.ERROR,
    remedy="repair them, or remove the class from every split",
    source="docs/training.md",
    look=look,
)
