"""SageMaker's instances are of two architectures."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    found = f"{image.image.attrs['Os']}/{image.image.attrs['Architecture']}"
    if found not in {"linux/amd64", "linux/arm64"}:
        yield f"it is built for {found}"


CHECK = Check(
    name="architecture",
    holds="it is built for Linux on amd64, or on arm64 for Graviton",
    severity=Severity.ERROR,
    remedy="build it with --platform linux/amd64, or linux/arm64 for ml.c7g, ml.m7g and their like",
    source=HOSTING,
    look=look,
)
