"""The drawn picture set: whole, the same every time, and with the odd files that real folders have."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from launcher import drawings
from launcher.datasets import SPLITS, DatasetError, read_image_folder
from launcher.drawings import COATS, NOTE, draw_picture_set

SCRIPT = Path(__file__).parents[3] / "scripts" / "prepare_data.py"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "drawn"
    answer = subprocess.run(
        [sys.executable, SCRIPT, "--draw", folder], capture_output=True, text=True, check=False, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"{folder}: 12 classes, 290 train, 72 valid, 72 test files\n"
    assert answer.stderr == ""
    return folder


def readable(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*/*/*.*")) if file.stem.rpartition("_")[2].isdigit()]


def test_every_split_has_the_dozen_classes(drawn: Path) -> None:
    assert read_image_folder(drawn).classes == tuple(COATS)
    assert next(iter(COATS)) == "001.Spotted"
    assert len(COATS) == 12


def test_nothing_else_is_left_beside_it(drawn: Path) -> None:
    assert list(drawn.parent.iterdir()) == [drawn]
    assert sorted(path.name for path in drawn.iterdir()) == sorted([NOTE, *SPLITS])


def test_the_note_says_that_these_are_no_photographs(drawn: Path) -> None:
    assert "They are not photographs" in (drawn / NOTE).read_text()


def test_sizes_and_shapes_differ(drawn: Path) -> None:
    sizes = []
    for file in readable(drawn):
        with Image.open(file) as picture:
            sizes.append(picture.size)
    assert min(map(min, sizes)) < 160
    assert 700 < max(map(max, sizes)) <= 900
    assert min(map(min, sizes)) >= 120
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_the_kinds_of_file_that_trip_readers(drawn: Path, split: str) -> None:
    kinds = set()
    for file in sorted((drawn / split).glob("*/*_0*")):
        with Image.open(file) as picture:
            kinds.add((picture.format, picture.mode, picture.getexif().get(0x0112)))
    assert kinds == {
        ("JPEG", "RGB", None),
        ("JPEG", "L", None),
        ("JPEG", "CMYK", None),
        ("JPEG", "RGB", 6),
        ("PNG", "RGB", None),
        ("PNG", "P", None),
    }


def test_exactly_one_truncated_picture_and_one_text_lie_in_train(drawn: Path) -> None:
    broken: dict[str, type[Exception]] = {}
    files = [file for split in SPLITS for file in sorted((drawn / split).rglob("*.*")) if file.is_file()]
    for file in files:
        try:
            with Image.open(file) as picture:
                picture.load()
        except OSError as error:
            broken[str(file.relative_to(drawn))] = type(error)
    assert broken == {
        "train/001.Spotted/Spotted_truncated.jpg": OSError,
        "train/002.Striped/Striped_text.jpg": UnidentifiedImageError,
    }
    assert len(broken) / read_image_folder(drawn).files["train"] < 0.01


def test_no_picture_comes_twice(drawn: Path) -> None:
    digests = {hashlib.sha256(file.read_bytes()).digest() for file in readable(drawn)}
    assert len(digests) == len(readable(drawn)) == 12 * 36


def test_a_second_run_does_nothing_and_says_so(drawn: Path) -> None:
    before = (drawn / NOTE).stat().st_mtime_ns
    images, made = draw_picture_set(drawn)
    assert not made
    assert images.files == {"train": 290, "valid": 72, "test": 72}
    assert (drawn / NOTE).stat().st_mtime_ns == before


def test_a_set_that_lost_a_file_is_drawn_again_just_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawings, "PICTURES", {"train": 2, "valid": 1, "test": 1})
    draw_picture_set(tmp_path / "small")
    before = {file: file.read_bytes() for file in readable(tmp_path / "small")}
    next(iter(before)).unlink()

    _, made = draw_picture_set(tmp_path / "small")

    assert made
    assert {file: file.read_bytes() for file in readable(tmp_path / "small")} == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("five years of work")
    with pytest.raises(DatasetError, match="holds something else than drawn pictures"):
        draw_picture_set(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
