"""The first 1,024 characters of /opt/ml/output/failure are the FailureReason that people see."""

from collections.abc import Iterator

from launcher.doctor.check import TRAINING_OUTPUT, Check, Severity, Unjudged
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.image.words import last_line


def look(image: ExaminedImage) -> Iterator[str]:
    image.must_train()
    seen = image.training
    if seen.exit_code is None:
        raise Unjudged(
            f"without data it goes on for {image.limits.failing_seconds:.0f} s and does not fail: "
            f"{last_line(seen.log)}"
        )
    if seen.exit_code == 0 and seen.failure is None:
        left = "a model" if seen.model else "no model"
        raise Unjudged(f"without data it ends with code 0 and leaves {left}: it could not be made to fail")
    if seen.exit_code == 0:
        yield "it ends with code 0 though it has written why it failed: the job passes for done"
    elif not (seen.failure or "").strip():
        yield f"it fails with code {seen.exit_code} and writes nothing there: {last_line(seen.log)}"


CHECK = Check(
    name="failure-file",
    holds="a job that fails writes why to /opt/ml/output/failure",
    severity=Severity.WARNING,
    remedy="catch what ends the program, and write its reason there",
    source=TRAINING_OUTPUT,
    look=look,
)
