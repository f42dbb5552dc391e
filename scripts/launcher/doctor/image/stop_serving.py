"""An instance that is taken away has 30 seconds."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.image.entrypoint import why_it_goes_on


def look(image: ExaminedImage) -> Iterator[str]:
    if image.healthy.stopped_after is None:
        yield (
            f"it goes on {image.limits.serve_stop_seconds:.0f} s after SIGTERM, and would be killed"
            + why_it_goes_on(image)
        )


CHECK = Check(
    name="stop-serving",
    holds="`serve` ends within 30 s of SIGTERM",
    severity=Severity.WARNING,
    remedy="handle SIGTERM: answer what was accepted, and end; a first process without a handler ignores it",
    source=HOSTING,
    look=look,
)
