"""The set of drawings for tests: drawn once in a checkout, which takes a while, and copied from there."""

import shutil
from pathlib import Path

from launcher.drawings import draw_picture_set

KEPT = Path(__file__).parents[1] / "build/drawn"


def whole(folder: Path) -> Path:
    """Make `folder` a copy of the whole set."""
    kept, _ = draw_picture_set(KEPT)
    return Path(shutil.copytree(kept.root, folder))


def few(folder: Path, count: int) -> Path:
    """Make `folder` so many pictures of each class in each split; all of them can be read."""
    kept, _ = draw_picture_set(KEPT)
    for breed in kept.root.glob("*/*"):
        for file in sorted(breed.iterdir())[:count]:
            place = folder / file.relative_to(kept.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    return folder
