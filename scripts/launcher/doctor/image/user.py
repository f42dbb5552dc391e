"""The platform runs containers as root; elsewhere that is often refused."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.image.words import last_line


def look(image: ExaminedImage) -> Iterator[str]:
    if image.serves and image.serving.start.healthy_after is not None:
        start = image.serving_as_nobody
        if start.healthy_after is None:
            yield f"as user 12345 serve does not become healthy: {last_line(start.log)}"
    if image.trains:
        usual, seen = image.training, image.training_as_nobody
        if (usual.exit_code, usual.failure is None) != (seen.exit_code, seen.failure is None):
            yield (
                f"as user 12345 train ends with {seen.exit_code}, as root with {usual.exit_code}: "
                f"{last_line(seen.log)}"
            )


CHECK = Check(
    name="user",
    holds="it runs as any user, without capabilities",
    severity=Severity.NOTE,
    remedy="let it write to /tmp and below /opt/ml alone, and listen on a port above 1024",
    source=HOSTING,
    look=look,
)
