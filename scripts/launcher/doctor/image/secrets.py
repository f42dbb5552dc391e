"""Who may pull an image may read all of its layers."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    yield from image.secrets


CHECK = Check(
    name="secrets",
    holds="no secrets lie in its layers, its variables or its history",
    severity=Severity.ERROR,
    remedy="revoke what was found, then build without it: docker build --secret leaves no trace",
    source="https://docs.docker.com/build/building/secrets/",
    look=look,
)
