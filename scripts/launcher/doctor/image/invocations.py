"""/ping is all that the platform looks at: an endpoint that answers nothing else is in service, too."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, NotApplicable, Severity, Unjudged
from launcher.doctor.examined_image import MULTI_MODEL, ExaminedImage
from launcher.doctor.probe import OK
from launcher.doctor.watch import is_refusal


def look(image: ExaminedImage) -> Iterator[str]:
    sent = image.healthy.sent
    if not all(map(is_refusal, sent.values())):
        return
    if set(sent.values()) == {404} and image.claims(MULTI_MODEL) and image.many_models.loaded == OK:
        raise NotApplicable("it answers for many models, by their names")
    each = ", ".join(f"{kind} is answered {status or 'not at all'}" for kind, status in sent.items())
    said = f"/ping is OK, and of POST /invocations {each}"
    if image.given.model is None:
        raise Unjudged(f"{said}; --model gives it a model")
    yield said


CHECK = Check(
    name="invocations",
    holds="POST /invocations is there, and not every content type's answer is a failure",
    severity=Severity.ERROR,
    remedy="answer POST /invocations, with 200, or 400 or 415 for what it cannot read; see what it logs",
    source=HOSTING,
    look=look,
)
