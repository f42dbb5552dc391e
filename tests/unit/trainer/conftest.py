"""Small picture folders to train on, drawn when needed."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("001.red_setter", "002.Green_hound", "003.blue")


def draw(path: Path, *, tint: int, number: int, size: tuple[int, int] = (80, 60)) -> None:
    """A noisy picture in which one colour channel dominates."""
    noise = np.random.default_rng(1000 * tint + number).integers(0, 120, (size[1], size[0], 3))
    noise[..., tint] += 130
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise.astype(np.uint8)).save(path, quality=90)


def truncate(path: Path) -> None:
    """Cut a file in half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.fixture(scope="session")
def _drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    for place, (split, count) in enumerate((("train", 8), ("valid", 3), ("test", 3))):
        for tint, name in enumerate(CLASSES):
            for number in range(count):
                draw(root / split / name / f"{number}.jpg", tint=tint, number=number + 100 * place)
    return root


@pytest.fixture
def pictures(_drawn: Path, tmp_path: Path) -> Path:
    """A fresh data folder: 3 classes; 24, 9 and 9 pictures."""
    return Path(shutil.copytree(_drawn, tmp_path / "pictures"))


@pytest.fixture
def break_files(pictures: Path) -> Callable[[str, int], list[Path]]:
    """Truncate the first files of a split, and return them."""

    def breaker(split: str, count: int) -> list[Path]:
        files = sorted((pictures / split).rglob("*.jpg"))[:count]
        for file in files:
            truncate(file)
        return files

    return breaker


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A fresh folder, while the test runs as a user who may not read every file."""
    with tempfile.TemporaryDirectory() as name:  # outside tmp_path, which is its owner's alone
        folder = Path(name)
        folder.chmod(0o755)
        owner = os.geteuid()
        if owner != 0:
            yield folder
            return
        shutil.chown(folder, 65_534)
        os.seteuid(65_534)
        try:
            if not os.access(folder, os.W_OK, effective_ids=True):
                pytest.skip(f"another user cannot work in {folder.parent}")
            yield folder
        finally:
            os.seteuid(owner)
