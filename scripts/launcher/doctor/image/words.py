"""What an image is for: an image may train, serve, or both."""

from collections.abc import Iterator

from launcher.doctor.check import TRAINING, Check, NotApplicable, Severity
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.image import entrypoint

_LONGEST = 500  # characters of a line


def look(image: ExaminedImage) -> Iterator[str]:
    if image.trains or image.serves:
        return
    if any(entrypoint.look(image)):
        raise NotApplicable("the entrypoint's form may keep the words from the program")
    yield (
        f"neither is known: train ended with {image.training.exit_code}, serve with "
        f"{image.serving.start.exit_code}: {last_line(image.serving.start.log)}"
    )


def last_line(log: str) -> str:
    """Return the last thing that was said, or the beginning of it."""
    line = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "nothing was said")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


CHECK = Check(
    name="words",
    holds="`train` or `serve` is answered",
    severity=Severity.ERROR,
    remedy="let the entrypoint run the training program for the word train, the server for serve",
    source=TRAINING,
    look=look,
)
