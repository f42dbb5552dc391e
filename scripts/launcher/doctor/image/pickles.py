"""An .npy file may hold a pickle, and who unpickles it runs its sender's code."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    if image.healthy.unpickled:
        yield "code in an application/x-npy request was run"


CHECK = Check(
    name="pickles",
    holds="an array of objects is not unpickled",
    severity=Severity.ERROR,
    remedy="read arrays with numpy.load(…, allow_pickle=False); sagemaker-inference's own decoder allows it",
    source="https://numpy.org/doc/stable/reference/generated/numpy.load.html",
    look=look,
)
