"""How well an endpoint names pictures whose breed is known.

Called by `demonstration`: a picture's class is the name of its folder in the split.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher import pictures
from launcher.errors import SettingsError
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


def split_files(split: Path) -> dict[Path, str]:
    """Return the class of each picture of a split: the folder directly below it, as training reads it.

    Raises SettingsError where there is no such folder, or no picture in any.
    """
    folders = sorted(each for each in split.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not folders:
        raise SettingsError(
            f"{split} holds no folders: name one that holds a folder for each class, such as dogs/test"
        )
    return {file: file.relative_to(split).parts[0] for file in pictures.find(folders)}


def choose(classes: Mapping[Path, str], count: int, seed: int) -> list[Path]:
    """Choose pictures of as many different classes, the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - a choice of examples
    by_class: dict[str, list[Path]] = {}
    for file, name in classes.items():
        by_class.setdefault(name, []).append(file)
    return [
        chance.choice(by_class[name]) for name in chance.sample(sorted(by_class), min(count, len(by_class)))
    ]


def accuracy(answers: Mapping[Path, Prediction], classes: Mapping[Path, str]) -> Accuracy:
    """Count the answers whose most probable class is the picture's."""
    right, answered, unreadable = 0, 0, []
    for file, prediction in answers.items():
        if prediction.error:
            unreadable.append(prediction)
        else:
            answered += 1
            right += prediction.top[0].name == classes[file]
    return Accuracy(right, answered, tuple(unreadable))
