"""/ping is what takes requests away from an endpoint that is dead."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, NotApplicable, Severity
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.probe import OK


def look(image: ExaminedImage) -> Iterator[str]:
    image.healthy  # noqa: B018 - else there is nothing to kill
    death = image.moved.death
    if death is None or not death.killed:
        why = (
            "it is one process"
            if death and death.killed is False
            else "nothing in it can be killed: no shell that does it"
        )
        raise NotApplicable(why)
    if death.exit_code == 0:
        yield "when its processes are killed it ends with code 0, as if all were well"
    elif death.ping == OK and death.answer != death.before:
        yield (
            "when its processes are killed /ping stays OK, and what was answered "
            f"{death.before or 'not at all'} is answered {death.answer or 'not at all'}"
        )


CHECK = Check(
    name="ping-late",
    holds="/ping is not OK once the processes behind it are dead",
    severity=Severity.ERROR,
    remedy="end the container with a code other than 0, or start what has died again",
    source=HOSTING,
    look=look,
)
