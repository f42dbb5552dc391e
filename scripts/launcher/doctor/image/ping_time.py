"""How soon /ping is answered."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    seconds = image.healthy.ping_seconds
    if seconds > image.limits.ping_seconds:
        yield f"it takes {seconds:.1f} s"


CHECK = Check(
    name="ping-time",
    holds="GET /ping is answered within 2 s",
    severity=Severity.ERROR,
    remedy="answer it from what is known already, and never behind a prediction",
    source=HOSTING,
    look=look,
)
