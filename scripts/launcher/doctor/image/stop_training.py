"""A job that is stopped, or whose spot instance is taken away, has 120 seconds."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity, Unjudged
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.image.entrypoint import why_it_goes_on
from launcher.doctor.image.words import last_line


def look(image: ExaminedImage) -> Iterator[str]:
    image.must_train()
    seen = image.training_stop
    if seen.ended_before is not None:
        raise Unjudged(
            f"it ended by itself, with code {seen.ended_before}: {last_line(seen.log)}; "
            "--training gives it data to go on with"
        )
    if seen.stopped_after is None:
        yield (
            f"it goes on {image.limits.train_stop_seconds:.0f} s after SIGTERM, and would be killed"
            + why_it_goes_on(image)
        )


CHECK = Check(
    name="stop-training",
    holds="`train` ends within 120 s of SIGTERM",
    severity=Severity.WARNING,
    remedy="handle SIGTERM: write a checkpoint, and end; a first process without a handler ignores it",
    source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html",
    look=look,
)
