"""What an image is for: an image may train, serve, or both."""

from collections.abc import Iterator

from launcher.doctor.check import TRAINING, Check, NotApplicable, Severity, Unjudged
from launcher.doctor.examined_image import WRONG_USAGE, ExaminedImage

_LONGEST = 500  # characters of a line


def look(image: ExaminedImage) -> Iterator[str]:
    if image.trains or image.serves:
        return
    if image.command.lost:
        raise NotApplicable("the entrypoint keeps the words from the program")
    seen, start = image.training, image.serving.start
    left = " and leaves no model" if seen.exit_code == 0 else ""
    alike = "" if start.exit_code in WRONG_USAGE else ", like a word that means nothing"
    said = (
        f"train ends with {seen.exit_code}{left}, serve with {start.exit_code}{alike}: {last_line(start.log)}"
    )
    if image.given.model is None and start.exit_code not in {0, *WRONG_USAGE}:
        raise Unjudged(f"{said}; --model gives it a model")
    yield said


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
