"""In an inference pipeline each container gets a port of its own."""

from collections.abc import Iterator

from launcher.doctor.check import AWS, Check, Severity
from launcher.doctor.examined_image import BIND_TO_PORT, ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    image.healthy  # noqa: B018 - else there is nothing to ask
    obeyed = image.moved.port == image.moved.asked
    if image.claims(BIND_TO_PORT):
        return  # whether that is true is for `labels`
    yield f"it {'is' if obeyed else 'is not'} obeyed, and the label {BIND_TO_PORT} is missing"


CHECK = Check(
    name="bind-to-port",
    holds="SAGEMAKER_BIND_TO_PORT is obeyed, and the label accept-bind-to-port says so",
    severity=Severity.WARNING,
    remedy="listen on SAGEMAKER_BIND_TO_PORT where it is set, and add the label",
    source=f"{AWS}/inference-pipeline-real-time.html",
    look=look,
)
