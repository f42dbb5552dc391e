"""/ping is what sends requests to an endpoint: before the model is loaded they would fail."""

from collections.abc import Iterator

from launcher.doctor.check import HOSTING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.watch import is_failure


def look(image: ExaminedImage) -> Iterator[str]:
    first, settled = image.healthy.answers
    if is_failure(first) and not is_failure(settled):
        yield f"/ping was OK, and a request answered {first or 'not at all'}; later {settled}"
    elif image.given.model and image.serving_without_model.healthy_after is not None:
        yield "/ping is OK though the folder of the model is empty"


CHECK = Check(
    name="ping-early",
    holds="/ping is not OK before the model is loaded",
    severity=Severity.ERROR,
    remedy="listen, or answer 200, only once the model has answered a request",
    source=HOSTING,
    look=look,
)
