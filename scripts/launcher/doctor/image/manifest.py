"""SageMaker takes one kind of manifest; what a registry has is asked of it, else of the engine."""

from collections.abc import Iterator

from launcher.doctor.check import AWS, Check, NotApplicable, Severity
from launcher.doctor.examined_image import ExaminedImage
from launcher.registry import ACCEPTED, KINDS


def look(image: ExaminedImage) -> Iterator[str]:
    if not image.media_type:
        raise NotApplicable("it is in no registry yet; the engine pushes what SageMaker takes")
    if image.media_type != ACCEPTED:
        yield f"its manifest is {KINDS.get(image.media_type, 'of an unknown kind')} ({image.media_type})"


CHECK = Check(
    name="manifest",
    holds="its manifest is of docker's version 2 schema 2, not an OCI index",
    severity=Severity.ERROR,
    remedy="build it again with --provenance=false --sbom=false, and push it again",
    source=f"{AWS}/serverless-endpoints-create.html",
    look=look,
)
