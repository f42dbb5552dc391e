"""Picture folders: what is trained on, what is left out, what is remarked on, and what is refused."""

import csv
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from trainer.data import RobustImageFolder, load_splits
from trainer.failures import DataError

BreakFiles = Callable[[str, int], list[Path]]
SPLITS = ("train", "valid", "test")


def open_splits(folder: Path, *, max_unreadable: float = 0.01) -> dict[str, RobustImageFolder]:
    return load_splits(
        folder,
        SPLITS,
        max_unreadable=max_unreadable,
        reports=folder.parent / "reports",
        cache=folder.parent / "cache",
    )


def refusal(folder: Path, *, max_unreadable: float = 0.01) -> str:
    with pytest.raises(DataError) as caught:
        open_splits(folder, max_unreadable=max_unreadable)
    return str(caught.value)


def report(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder.parent / "reports" / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_sound_pictures_are_read_as_torchvision_reads_them(pictures: Path) -> None:
    ours = RobustImageFolder(pictures / "train")
    theirs = ImageFolder(str(pictures / "train"))

    assert ours.classes == theirs.classes
    assert list(ours.targets) == theirs.targets
    assert [(str(path), target) for path, target in ours.samples] == theirs.samples
    assert all(np.array_equal(ours.read(index), theirs[index][0]) for index in range(len(theirs)))


def test_a_sample_has_its_file_and_the_digest_of_its_content(pictures: Path) -> None:
    split = RobustImageFolder(pictures / "train")

    assert len(split) == len(split.files) == len(split.digests) == 24
    assert split.files[9] == "train/002.Green_hound/1.jpg"
    assert len(set(split.digests)) == 24
    assert {len(digest) for digest in split.digests} == {32}


def make_bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path, "PNG")


def cut_short(path: Path) -> None:
    shutil.copy(path.with_name("0.jpg"), path)
    os.truncate(path, 700)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "bomb.jpg": (make_bomb, "too large: 20000 × 20000 pixels, the limit is 50 million"),
    "empty.jpg": (Path.touch, "empty file"),
    "folder.jpg": (Path.mkdir, "a folder, not a file"),
    "link.jpg": (lambda path: path.symlink_to("nowhere"), "a link to a file that does not exist"),
    "pipe.jpg": (os.mkfifo, "a named pipe, not a file"),
    "text.jpg": (lambda path: path.write_text("no picture"), "not a picture of a known format"),
    "truncated.jpg": (cut_short, "truncated: it ends within the picture, after 700 bytes"),
}


@pytest.mark.timeout(60)
def test_every_kind_of_bad_file_is_listed_with_its_reason_and_left_out(pictures: Path) -> None:
    for name, (make, _) in BAD.items():
        make(pictures / "train" / "001.red_setter" / name)

    splits = open_splits(pictures, max_unreadable=0.3)

    assert len(splits["train"]) == 24
    assert [(row["file"], row["reason"]) for row in report(pictures, "quarantine")] == [
        (f"train/001.red_setter/{name}", reason) for name, (_, reason) in BAD.items()
    ]


def test_a_file_that_may_not_be_read_is_left_out_and_a_folder_is_an_error(unprivileged: Path) -> None:
    folder = unprivileged / "train" / "breed"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 9)).save(folder / name)
    (folder / "b.png").chmod(0)

    split = RobustImageFolder(unprivileged / "train")

    assert list(split.files) == ["train/breed/a.png"]
    assert [(bad.file, bad.reason) for bad in split.quarantined] == [
        ("train/breed/b.png", "permission denied")
    ]
    folder.chmod(0)
    with pytest.raises(DataError, match=f"the folder {folder} cannot be listed: Permission denied"):
        RobustImageFolder(unprivileged / "train")
    folder.chmod(0o700)


def test_pictures_of_unusual_kinds_are_all_read(pictures: Path) -> None:
    folder = pictures / "train" / "001.red_setter"
    red = Image.new("RGB", (40, 30), (220, 30, 30))
    turned = Image.Exif()
    turned[0x0112] = 6
    red.convert("CMYK").save(folder / "cmyk.jpg")
    red.quantize(2).save(folder / "palette.png", transparency=0)
    red.save(folder / "turned.jpg", exif=turned)
    red.save(folder / "animated.gif", save_all=True, append_images=[Image.new("RGB", (40, 30), "blue")])
    red.save(folder / "a PNG.jpg", "PNG")
    Image.fromarray(np.full((30, 40), 220 * 257, np.uint16)).save(folder / "deep.png")

    split = RobustImageFolder(pictures / "train")

    assert split.quarantined == []
    for name in ("cmyk.jpg", "palette.png", "turned.jpg", "animated.gif", "a PNG.jpg", "deep.png"):
        picture = split.read(split.files.index(f"train/001.red_setter/{name}"))
        assert picture.size == ((30, 40) if name == "turned.jpg" else (40, 30))
        assert abs(np.asarray(picture)[..., 0].mean() - 220) < 10


def test_more_unreadable_files_than_allowed_are_an_error_and_still_listed(
    pictures: Path, break_files: BreakFiles
) -> None:
    broken = break_files("valid", 2)

    message = refusal(pictures, max_unreadable=0.2)

    assert f"2 of the 9 files in {pictures / 'valid'} cannot be read" in message
    assert broken[0].relative_to(pictures).as_posix() in message
    assert "raise max-unreadable" in message
    assert len(report(pictures, "quarantine")) == 2


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


def damage(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace(path: Path) -> None:
    shutil.copy(path.with_name("5.jpg"), path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (Path.unlink, r"no longer can \(no longer there\)"),
        (damage, r"no longer can \(truncated: "),
        (replace, "is another picture than when the job started"),
    ],
)
def test_a_picture_that_changes_while_training_is_an_error_not_a_substitute(
    pictures: Path, change: Callable[[Path], None], problem: str
) -> None:
    split = open_splits(pictures)["train"]
    file = pictures / split.files[4]
    change(file)

    with pytest.raises(DataError, match=f"{file} .*{problem}.*do not change the data while a job runs"):
        split.read(4)


def test_a_second_job_leaves_the_pictures_alone(pictures: Path) -> None:
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    (pictures / "train" / "003.blue" / "large.bmp").write_bytes(b"no picture".ljust(2_000_000))
    first = open_splits(pictures, max_unreadable=1)
    before = bytes_read()
    second = open_splits(pictures, max_unreadable=1)

    assert bytes_read() - before < 1_000_000
    for one, other in zip(first.values(), second.values(), strict=True):
        for name in ("classes", "files", "targets", "digests", "quarantined"):
            assert list(getattr(one, name)) == list(getattr(other, name)), name


def test_good_data_are_not_remarked_on(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_splits(pictures)

    assert capsys.readouterr() == ("", "")
    assert report(pictures, "quarantine") == report(pictures, "duplicates") == []
    assert report(pictures, "classes") == [
        {"class": name, "train": "8", "valid": "3", "test": "3"}
        for name in ("001.red_setter", "002.Green_hound", "003.blue")
    ]


def test_what_was_left_out_is_said(
    pictures: Path, break_files: BreakFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    break_files("train", 5)

    open_splits(pictures, max_unreadable=0.5)

    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("left out 5 unreadable file(s): train/001.red_setter/0.jpg (truncated: it ends")
    assert line.endswith(" and 2 more")


def test_files_that_are_not_named_like_pictures_are_said(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures / "train" / "001.red_setter"
    for name in ("a.heic", "b", "c.txt", ".hidden", "inner/d.jfif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("whatever")
    (folder / "circle").symlink_to("circle")

    open_splits(pictures)

    prefix = "train/001.red_setter"
    assert capsys.readouterr().err == (
        "ignored 5 file(s) whose names are not those of pictures: "
        f"{prefix}/a.heic, {prefix}/b, {prefix}/c.txt and 2 more\n"
    )


def test_linked_folders_are_read_as_torchvision_reads_them(pictures: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(pictures / "test" / "001.red_setter", elsewhere / "deep")
    (pictures / "train" / "001.red_setter" / "linked").symlink_to(elsewhere)

    ours = RobustImageFolder(pictures / "train")

    assert len(ours) == 24 + 3
    assert [(str(path), target) for path, target in ours.samples] == ImageFolder(
        str(pictures / "train")
    ).samples


@pytest.mark.timeout(20)
def test_links_in_a_circle_are_followed_once(pictures: Path) -> None:
    folder = pictures / "train" / "001.red_setter"
    for name, other in (("inner", "second"), ("second", "inner")):
        (folder / name).mkdir()
        (folder / name / "link").symlink_to(folder / other)
        (folder / name / "up").symlink_to(folder)
    shutil.copy(folder / "0.jpg", folder / "inner" / "again.jpg")

    split = RobustImageFolder(pictures / "train")

    assert len(split) == 24 + 2  # by its own name, and by the link in the other folder
    assert split.quarantined == []
    assert split.ignored == []


def test_pictures_that_stand_more_than_once_are_reported_the_worst_first(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red, green = "001.red_setter", "002.Green_hound"
    shutil.copy(pictures / "train" / red / "0.jpg", pictures / "train" / red / "again.jpg")
    shutil.copy(pictures / "train" / red / "1.jpg", pictures / "train" / green / "other breed.jpg")
    for place in ("test", "valid"):
        shutil.copy(pictures / "train" / red / "2.jpg", pictures / place / red / "known.jpg")
    shutil.copy(pictures / "train" / red / "3.jpg", pictures / "test" / green / "wrong.jpg")

    open_splits(pictures)

    rows = report(pictures, "duplicates")
    assert [(row["splits"], row["classes"], row["split"], row["file"]) for row in rows] == [
        ("3", "1", "train", f"train/{red}/2.jpg"),
        ("3", "1", "valid", f"valid/{red}/known.jpg"),
        ("3", "1", "test", f"test/{red}/known.jpg"),
        ("2", "2", "train", f"train/{red}/3.jpg"),
        ("2", "2", "test", f"test/{green}/wrong.jpg"),
        ("1", "2", "train", f"train/{red}/1.jpg"),
        ("1", "2", "train", f"train/{green}/other breed.jpg"),
        ("1", "1", "train", f"train/{red}/0.jpg"),
        ("1", "1", "train", f"train/{red}/again.jpg"),
    ]
    assert len({row["digest"] for row in rows}) == 4
    assert capsys.readouterr().err.splitlines() == [
        "1 picture(s) of valid and 2 picture(s) of test are also in train: accuracy on them flatters "
        "(see duplicates.csv)",
        "2 picture(s) stand in more than one class (see duplicates.csv)",
    ]


def test_classes_of_very_different_sizes_are_remarked_on(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2, 8):
        (pictures / "train" / "002.Green_hound" / f"{number}.jpg").unlink()

    open_splits(pictures)

    assert [row["train"] for row in report(pictures, "classes")] == ["8", "2", "8"]
    assert capsys.readouterr().err == (
        "the classes of train are unbalanced: 8 pictures of 001.red_setter, 2 of 002.Green_hound "
        "(see classes.csv)\n"
    )


def test_a_name_that_is_no_utf_8_can_be_read_and_reported(pictures: Path) -> None:
    folder = os.fsencode(pictures / "train" / "003.blue")
    for name in (b"/caf\xe9.jpg", b"/na\xefve.jpg"):
        Path(os.fsdecode(folder + name)).write_bytes((pictures / "train" / "003.blue" / "0.jpg").read_bytes())
    Path(os.fsdecode(folder + b"/\xff.jpg")).write_text("no picture")

    split = open_splits(pictures, max_unreadable=0.5)["train"]

    assert all(split.read(index) for index in range(len(split)))
    assert report(pictures, "quarantine")[0]["file"] == "train/003.blue/\\udcff.jpg"
    assert len(report(pictures, "duplicates")) == 3


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def draw_many(folder: Path, count: int) -> None:
    """So many different pictures of one pixel."""
    folder.mkdir(parents=True)
    header = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
    for number in range(count):
        pixels = chunk(b"tEXt", b"n\0%d" % number) + chunk(b"IDAT", zlib.compress(b"\0\0"))
        content = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
        (folder / f"a_breed_with_a_long_name_{number:06d}.png").write_bytes(content)


MEASURE = """
import sys, tracemalloc
from pathlib import Path
from trainer.data import RobustImageFolder

few, root, cache = map(Path, sys.argv[1:])
RobustImageFolder(few)  # modules that are imported at first use
tracemalloc.start()
RobustImageFolder(root, cache=cache)
print(tracemalloc.get_traced_memory()[1])
"""


def memory_at_most(few: Path, root: Path, cache: Path) -> int:
    """Bytes that opening a split takes at its worst moment, in a process that holds nothing else."""
    command = [sys.executable, "-c", MEASURE, few, root, cache]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def test_ninety_thousand_pictures_take_less_than_forty_megabytes(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    draw_many(few / "001.a_breed_with_a_long_name", 500)
    draw_many(many / "001.a_breed_with_a_long_name", 2_000)

    looking, remembering = (
        memory_at_most(few, many, tmp_path) - memory_at_most(few, few, tmp_path) for _ in range(2)
    )

    assert remembering / 1_500 < 40_000_000 / 91_000
    assert looking / 1_500 < 2_000  # what is not saved yet as well, of half a second; not a queue of all


def test_looking_at_the_data_needs_no_torch() -> None:
    program = "import sys, trainer.data; assert not {'torch', 'torchvision'} & set(sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_real_photographs_are_all_readable(dogs: Path) -> None:
    split = RobustImageFolder(dogs / "valid")

    assert len(split.classes) == 120
    assert split.quarantined == []
    assert split.read(0).mode == "RGB"
