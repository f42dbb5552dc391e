"""From logits to the few most probable classes, best first.

Called by `predictor.codecs` for HTTP answers and by `predictor.offline` for files, so that both agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.artifact import BreedClass
from predictor.engine import Logits, softmax


@dataclass(frozen=True)
class Guess:
    """One class and its probability, 0–1."""

    name: str
    label: str
    probability: float


def rank(logits: Logits, classes: Sequence[BreedClass], *, count: int) -> list[list[Guess]]:
    """The `count` most probable classes of each row of logits `(N, classes)`; ties in class order."""
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :count]
    return [
        [Guess(classes[i].name, classes[i].label, float(row[i])) for i in best]
        for row, best in zip(probabilities, order, strict=True)
    ]
