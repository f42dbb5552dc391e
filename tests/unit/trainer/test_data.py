"""Picture folders: what is trained on, what is left out, and what is refused."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageFolder

from trainer.data import RobustImageFolder, load_splits, make_loader, worker_count
from trainer.failures import DataError
from trainer.transforms import Preprocessing, evaluation_transform, training_transform

BreakFiles = Callable[[str, int], list[Path]]
SIZE = Preprocessing(resize=40, crop=32)


def open_splits(folder: Path, *, max_unreadable: float = 0.01) -> dict[str, RobustImageFolder]:
    transforms = dict.fromkeys(("train", "valid", "test"), evaluation_transform(SIZE))
    return load_splits(
        folder, transforms, max_unreadable=max_unreadable, quarantine_file=folder.parent / "quarantine.csv"
    )


def refusal(folder: Path, *, max_unreadable: float = 0.01) -> str:
    with pytest.raises(DataError) as caught:
        open_splits(folder, max_unreadable=max_unreadable)
    return str(caught.value)


def quarantine(folder: Path) -> list[dict[str, str]]:
    with (folder.parent / "quarantine.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_sound_pictures_are_read_as_torchvision_reads_them(pictures: Path) -> None:
    ours = RobustImageFolder(pictures / "train", evaluation_transform(SIZE))
    theirs = ImageFolder(str(pictures / "train"), evaluation_transform(SIZE))

    assert ours.classes == theirs.classes
    assert ours.targets == theirs.targets
    assert all(torch.equal(mine[0], other[0]) for mine, other in zip(ours, theirs, strict=True))


def test_unreadable_files_are_listed_and_left_out(pictures: Path, break_files: BreakFiles) -> None:
    truncated, text, empty = break_files("train", 3)
    text.write_text("this is no picture")
    empty.write_bytes(b"")

    splits = open_splits(pictures, max_unreadable=0.2)

    assert len(splits["train"]) == 21
    assert {truncated, text, empty}.isdisjoint(path for path, _ in splits["train"].samples)
    rows = quarantine(pictures)
    assert [row["file"] for row in rows] == [
        file.relative_to(pictures).as_posix() for file in (truncated, text, empty)
    ]
    assert "truncated" in rows[0]["reason"]
    assert rows[1]["reason"] == "not a picture of a known format"
    assert rows[2]["reason"] == "the file is empty"


def test_more_unreadable_files_than_allowed_are_an_error_and_still_listed(
    pictures: Path, break_files: BreakFiles
) -> None:
    broken = break_files("valid", 2)

    message = refusal(pictures, max_unreadable=0.2)

    assert f"2 of the 9 files in {pictures / 'valid'} cannot be read" in message
    assert broken[0].relative_to(pictures).as_posix() in message
    assert "raise max-unreadable" in message
    assert len(quarantine(pictures)) == 2


def test_nothing_but_unreadable_files_is_an_error_whatever_is_allowed(
    pictures: Path, break_files: BreakFiles
) -> None:
    break_files("train", 24)

    assert f"none of the 24 files in {pictures / 'train'} can be read" in refusal(pictures)
    assert "none of the pictures of 001.red_setter" in refusal(pictures, max_unreadable=1)


def test_a_class_without_a_readable_picture_is_named(pictures: Path, break_files: BreakFiles) -> None:
    break_files("test", 3)

    assert "none of the pictures of 001.red_setter in" in refusal(pictures, max_unreadable=0.5)


def test_a_missing_data_folder_says_how_to_give_one(tmp_path: Path) -> None:
    message = refusal(tmp_path / "nowhere")

    assert f"there is no data folder {tmp_path / 'nowhere'}" in message
    assert "--data DIR" in message


def test_a_missing_split_is_named(pictures: Path) -> None:
    shutil.rmtree(pictures / "valid")

    assert f"there is no folder {pictures / 'valid'}" in refusal(pictures)


def test_a_split_without_classes_is_named(pictures: Path) -> None:
    shutil.rmtree(pictures / "train")
    (pictures / "train").mkdir()

    assert f"{pictures / 'train'} has no class folders" in refusal(pictures)


def test_an_empty_class_folder_is_named(pictures: Path) -> None:
    for file in (pictures / "train" / "003.blue").iterdir():
        file.unlink()

    assert f"the class folder {pictures / 'train' / '003.blue'} is empty" in refusal(pictures)


def test_a_split_with_other_classes_says_which(pictures: Path) -> None:
    (pictures / "test" / "003.blue").rename(pictures / "test" / "004.grey")

    message = refusal(pictures)

    assert f"{pictures / 'test'} has other classes than {pictures / 'train'}" in message
    assert "003.blue missing, 004.grey only there" in message


def test_a_picture_that_disappears_while_training_is_an_error_not_a_substitute(pictures: Path) -> None:
    split = open_splits(pictures)["train"]
    (pictures / split.files[4]).unlink()

    with pytest.raises(DataError, match="do not change the data while a job runs"):
        split[4]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_seed_gives_the_same_batches(pictures: Path, workers: int) -> None:
    split = RobustImageFolder(pictures / "train", training_transform(SIZE, min_crop_area=0.3))

    def epoch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(seed)
        loader = make_loader(split, batch_size=5, workers=workers, seed=seed, shuffle=True)
        images, targets = zip(*loader, strict=True)
        return torch.cat(images), torch.cat(targets)

    first, again, other = epoch(3), epoch(3), epoch(4)

    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_no_more_loader_processes_are_started_than_shared_memory_feeds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert worker_count(3, batch_bytes=1) == 3
    assert worker_count(3, batch_bytes=1 << 50) == 0
    assert "instead of 3: /dev/shm is too small" in capsys.readouterr().err


def test_real_photographs_are_all_readable(dogs: Path) -> None:
    split = RobustImageFolder(dogs / "valid", evaluation_transform(Preprocessing()))

    assert len(split.classes) == 120
    assert split.quarantined == []
    assert split[0][0].shape == (3, 224, 224)
