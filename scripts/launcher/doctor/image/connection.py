"""How soon a connection is accepted."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    seconds = image.healthy.connect_seconds
    if seconds > image.limits.connect_seconds:
        yield f"the slowest of five takes {seconds * 1000:.0f} ms"


CHECK = Check(
    name="connection",
    holds="several connections at a time are accepted within 250 ms",
    severity=Severity.ERROR,
    remedy="accept connections in a loop of its own, with a longer queue (backlog)",
    source=HOSTING,
    look=look,
)
