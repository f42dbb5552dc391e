"""SageMaker starts `docker run IMAGE train`, or `serve`: the word has to reach the program, and SIGTERM."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    if image.command.lost and not (image.trains or image.serves):
        yield f"{image.command.lost}: {' '.join(image.config['Entrypoint'])}"


def why_it_goes_on(image: ExaminedImage) -> str:
    """Return what in the entrypoint may keep SIGTERM from the program, or ""."""
    shell = image.command.shell
    return f"; {shell} without exec before the program may keep SIGTERM to itself" if shell else ""


CHECK = Check(
    name="entrypoint",
    holds="the entrypoint lets the word through: no shell's line, and no init alone, takes it for its own",
    severity=Severity.ERROR,
    remedy='write ENTRYPOINT ["python", "/program.py"]; a shell needs ["sh", "-c", "exec … \\"$@\\"", "sh"]',
    source=HOSTING,
    look=look,
)
