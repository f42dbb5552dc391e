"""An endpoint that is not healthy in time fails."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, Severity, Unjudged
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.image.words import last_line
from launcher.doctor.watch import PORT


def look(image: ExaminedImage) -> Iterator[str]:
    image.must_serve()
    start = image.serving.start
    if start.healthy_after is not None:
        return
    goes_on = f"goes on, GET /ping is {start.ping},"
    how = goes_on if start.exit_code is None else f"ends with code {start.exit_code}"
    amiss = start.listening.amiss(PORT)
    where = amiss or str(start.listening)
    said = f"serve {how} and never was healthy{where and f' ({where})'}: {last_line(start.log)}"
    if image.given.model is None and not amiss:
        raise Unjudged(f"{said}; --model gives it a model")
    yield said


CHECK = Check(
    name="healthy",
    holds="GET /ping on port 8080 is answered 200 within 8 minutes of `serve`",
    severity=Severity.ERROR,
    remedy="see what it logs: docker run IMAGE serve; what needs a network may have one with --network",
    source=HOSTING,
    look=look,
)
