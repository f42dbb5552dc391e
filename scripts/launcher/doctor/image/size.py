"""How large an image may be."""

from collections.abc import Iterator

from launcher.doctor.check import AWS, Check, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    size, limit = image.image.attrs["Size"], image.limits.image_bytes
    if size > limit:
        yield f"it has {size / 2**30:.1f} GiB, a serverless endpoint takes {limit / 2**30:.1f}"


CHECK = Check(
    name="size",
    holds="it is small enough for a serverless endpoint (10 GiB), and so for any other",
    severity=Severity.WARNING,
    remedy="leave out what is not needed at run time; see what takes the room with docker history",
    source=f"{AWS}/serverless-endpoints.html",
    look=look,
)
