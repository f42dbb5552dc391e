"""A training job that is done, wherever it ran: what there is of it, and what is said of it.

Made by `training` and `aws_training`; shown by launch_training.py and the notebook.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trained:
    """`place` is what it left, a folder or a prefix in S3 (`job_output`); `model` is its archive or its URI.

    `metrics` are the last values; `notes` are what a person is told besides.
    """

    name: str
    place: str
    model: str
    metrics: Mapping[str, float]
    notes: Sequence[str]

    def lines(self) -> Iterator[str]:
        """Say all of it."""
        for name, value in self.metrics.items():
            yield f"{name:24} {value:.6g}"
        yield f"model: {self.model}"
        yield from self.notes
