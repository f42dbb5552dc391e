"""What the platform does at each status: load the model, leave it, unload others."""

from collections.abc import Iterator

from launcher.doctor.check import MULTI_MODEL, Check, NotApplicable, Severity, Unjudged
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.probe import OK


def look(image: ExaminedImage) -> Iterator[str]:
    seen = image.many_models
    if seen.start.healthy_after is None or seen.loaded == 404:
        raise NotApplicable("it hosts no models, whatever its label says")
    for request, status in (seen.unknown or {}).items():
        if status != 404:
            yield f"{request} of a model that is not loaded is answered {status or 'not at all'}, not 404"
    if seen.loaded != OK:
        yield f"POST /models is answered {seen.loaded or 'not at all'}, not 200"
        return
    if seen.twice != 409:
        yield f"POST /models of a model that is loaded is answered {seen.twice or 'not at all'}, not 409"
    if seen.full is None:
        raise Unjudged(f"{seen.loads + 1} copies of the model fit in 1 GB: 507 could not be seen")
    if seen.full != 507:
        ended = "" if seen.exit_code is None else f", and the container has ended with {seen.exit_code}"
        yield f"model {seen.loads + 1} in 1 GB is answered {seen.full or 'not at all'}, not 507{ended}"


CHECK = Check(
    name="multi-model",
    holds="of many models an unknown one is 404, one loaded twice 409, one too many 507",
    severity=Severity.ERROR,
    remedy="answer with the statuses of the contract: the platform loads and unloads by them",
    source=MULTI_MODEL,
    look=look,
)
