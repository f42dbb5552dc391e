"""The platform runs containers as root; elsewhere that is often refused."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, NotApplicable, Severity
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.image.words import last_line


def look(image: ExaminedImage) -> Iterator[str]:
    user = str(image.config.get("User") or "root")
    if user.partition(":")[0] not in {"root", "0"}:
        raise NotApplicable(f"it runs as its own user, {user}, and never as root")
    if image.serves and image.serving.start.healthy_after is not None:
        start = image.serving_as_nobody
        if start.healthy_after is None:
            yield f"as user 12345 serve does not become healthy: {last_line(start.log)}"
    if image.trains:
        usual, seen = image.training, image.training_as_nobody
        if usual.exit_code != seen.exit_code:
            yield (
                f"as user 12345 train ends with {seen.exit_code}, as root with {usual.exit_code}: "
                f"{last_line(seen.log)}"
            )
        elif (usual.failure is None) != (seen.failure is None):
            files = ("none", "one") if seen.failure is None else ("one", "none")
            yield f"/opt/ml/output/failure: as user 12345 train writes {files[0]}, as root {files[1]}"


CHECK = Check(
    name="user",
    holds="it runs as any user, without capabilities",
    severity=Severity.NOTE,
    remedy="let it write to /tmp and below /opt/ml alone, and listen on a port above 1024",
    source=HOSTING,
    look=look,
)
