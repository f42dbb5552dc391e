"""A server that starts whatever it is asked makes a training job that never ends, and is paid for."""

from collections.abc import Iterator

from launcher.doctor.check import TRAINING, Check, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    if image.train_serves:
        yield "train starts the server, as serve does: a training job would go on until its time is up"


CHECK = Check(
    name="train-serves",
    holds="`train` does not start the server",
    severity=Severity.NOTE,
    remedy="end with a code other than 0 for train; for endpoints alone it does no harm",
    source=TRAINING,
    look=look,
)
