"""SageMaker starts `docker run IMAGE train`, or `serve`: the word has to reach the program, and SIGTERM."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from launcher.doctor.check import HOSTING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage

SHELLS = {"sh", "bash", "dash", "ash"}


def look(image: ExaminedImage) -> Iterator[str]:
    entrypoint = image.config.get("Entrypoint") or []
    program = PurePosixPath(entrypoint[0]).name if entrypoint else ""
    if program in SHELLS and "-c" in entrypoint[1:2]:
        yield f"the entrypoint is a shell's command line: {' '.join(entrypoint)}"
    if program == "tini" and len(entrypoint) == 1:
        yield "the entrypoint is tini alone, which would run a program named train or serve"


CHECK = Check(
    name="entrypoint",
    holds="the entrypoint is in exec form, and no init that takes the word for its own",
    severity=Severity.ERROR,
    remedy='write it as a list, ENTRYPOINT ["python", "/program.py"], without a shell and without tini',
    source=HOSTING,
    look=look,
)
