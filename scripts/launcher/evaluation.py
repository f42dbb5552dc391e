"""How well an endpoint names pictures whose breed is known.

Called by `demonstration`: a picture's truth is the name of its class folder.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher import pictures
from launcher.predictions import Prediction


@dataclass(frozen=True)
class Accuracy:
    """Counts over the files of a split; unreadable ones are neither right nor wrong."""

    right: int
    answered: int
    unreadable: tuple[Prediction, ...]

    @property
    def share(self) -> float:
        """Return the share of the answered files that were named right."""
        return self.right / self.answered if self.answered else 0.0


def split_files(split: Path) -> list[Path]:
    """Return the pictures of a split, class folder by class folder."""
    return pictures.find(sorted(folder for folder in split.iterdir() if folder.is_dir()))


def choose(files: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Choose pictures of as many different classes, the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - a choice of examples
    by_class: dict[str, list[Path]] = {}
    for file in files:
        by_class.setdefault(file.parent.name, []).append(file)
    return [
        chance.choice(by_class[name]) for name in chance.sample(sorted(by_class), min(count, len(by_class)))
    ]


def accuracy(answers: Iterable[tuple[Path, Prediction]]) -> Accuracy:
    """Count the answers whose first class is the picture's folder."""
    right, answered, unreadable = 0, 0, []
    for file, prediction in answers:
        if prediction.error:
            unreadable.append(prediction)
        else:
            answered += 1
            right += prediction.top[0].name == file.parent.name
    return Accuracy(right, answered, tuple(unreadable))
