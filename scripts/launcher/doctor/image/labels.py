"""What the labels claim is tried."""

from collections.abc import Iterator

from launcher.doctor.check import AWS, Check, NotApplicable, Severity
from launcher.doctor.examined_image import BIND_TO_PORT, MULTI_MODEL, ExaminedImage
from launcher.doctor.image.words import last_line


def look(image: ExaminedImage) -> Iterator[str]:
    image.must_serve()
    if not image.claims(BIND_TO_PORT) and not image.claims(MULTI_MODEL):
        raise NotApplicable("its labels claim nothing")
    if image.claims(BIND_TO_PORT) and image.moved.port != image.moved.asked:
        yield f"{BIND_TO_PORT}=true, and SAGEMAKER_BIND_TO_PORT={image.moved.asked} is not obeyed"
    if not image.claims(MULTI_MODEL):
        return
    seen = image.many_models
    if seen.start.healthy_after is None:
        yield f"{MULTI_MODEL}=true, and so it does not become healthy: {last_line(seen.start.log)}"
    elif seen.loaded == 404:
        yield f"{MULTI_MODEL}=true, and POST /models is answered 404"


CHECK = Check(
    name="labels",
    holds="what the labels claim is true",
    severity=Severity.ERROR,
    remedy="remove the label, or make it true",
    source=f"{AWS}/build-multi-model-build-container.html",
    look=look,
)
