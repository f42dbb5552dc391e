"""`make data`: from the archive's address to a folder that can be trained on, or a clear refusal."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launcher import pictures
from launcher.datasets import (
    SPLITS,
    ArchiveError,
    ArchiveLimits,
    DatasetError,
    fetch_dog_images,
    read_image_folder,
    unpack,
)
from trainer.data import RobustImageFolder
from trainer.images import EXTENSIONS

if TYPE_CHECKING:  # this folder's fixtures are no module at run time
    from tests.unit.data.conftest import FileServer

SCRIPT = Path(__file__).parents[3] / "scripts" / "prepare_data.py"
Entries = list[tuple[str | zipfile.ZipInfo, bytes]]


def zip_of(entries: Entries, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def dog_images(classes: int = 133) -> Entries:
    """The layout of dogImages.zip, junk included, with the smallest of pictures."""
    names = [f"{number:03d}.Breed_{number}" for number in range(1, classes + 1)]
    pictures: Entries = [
        (f"dogImages/{split}/{name}/{name[4:]}_00001.jpg", b"picture") for split in SPLITS for name in names
    ]
    junk: Entries = [("__MACOSX/dogImages/._train", b"junk"), ("dogImages/.DS_Store", b"junk")]
    return [*junk, *pictures]


def prepare_data(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script as `make data` does."""
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dogImages"


def test_the_archive_becomes_the_three_splits_and_nothing_else(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = zip_of(dog_images())

    answer = prepare_data("--url", f"{server.url}/dogImages.zip", "--output", output)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"{output}: 133 classes, 133 train, 133 valid, 133 test files\n"
    assert answer.stderr == ""
    assert sorted(path.name for path in output.iterdir()) == sorted(SPLITS)
    assert list(output.parent.iterdir()) == [output]


def test_a_second_run_asks_nobody_and_says_so(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = zip_of(dog_images())
    fetch_dog_images(f"{server.url}/dogImages.zip", output)
    server.asked.clear()

    answer = prepare_data("--url", f"{server.url}/dogImages.zip", "--output", output)

    assert answer.returncode == 0
    assert answer.stdout.endswith("(there already)\n")
    assert server.asked == []


def test_a_cut_connection_does_not_show_in_the_result(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = zip_of(dog_images())
    server.cuts = [20_000, 10_000]

    images, made = fetch_dog_images(f"{server.url}/dogImages.zip", output, pause_seconds=0.01)

    assert made
    assert images.files == dict.fromkeys(SPLITS, 133)


def test_a_kill_while_unpacking_leaves_nothing_that_looks_whole(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = zip_of(dog_images())
    program = (
        "import os; from pathlib import Path; from launcher import datasets\n"
        "write, files = datasets._write_member, iter(range(200))\n"
        "def dying(*arguments):\n"
        "    next(files, None) is None and os.kill(os.getpid(), 9)\n"
        "    write(*arguments)\n"
        "datasets._write_member = dying\n"
        f"datasets.fetch_dog_images('{server.url}/dogImages.zip', Path({str(output)!r}))"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not output.exists()

    fetch_dog_images(f"{server.url}/dogImages.zip", output)

    assert list(output.parent.iterdir()) == [output]


def test_two_runs_at_once_fetch_it_once(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = zip_of(dog_images())
    command = [sys.executable, SCRIPT, "--url", f"{server.url}/dogImages.zip", "--output", output]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum("there already" in text for text in outputs) == 1
    assert len(server.asked) == 1


def test_ctrl_c_ends_with_130_and_keeps_what_arrived(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = zip_of(dog_images())
    server.statuses = [503] * 100  # a server that keeps it waiting
    command = [sys.executable, SCRIPT, "--url", f"{server.url}/dogImages.zip", "--output", output]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not server.asked:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_other_classes_than_expected_are_refused(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = zip_of(dog_images(classes=132))

    answer = prepare_data("--url", f"{server.url}/dogImages.zip", "--output", output)

    assert answer.returncode == 1
    assert "has 132 classes, not 133" in answer.stderr
    assert list(output.parent.iterdir()) == []


def test_a_page_instead_of_an_archive_is_refused(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = b"<html>Please log in</html>"

    answer = prepare_data("--url", f"{server.url}/dogImages.zip", "--output", output)

    assert answer.returncode == 1
    assert "is damaged or no zip archive" in answer.stderr
    assert list(output.parent.iterdir()) == []


def test_a_server_that_hides_the_end_of_the_archive_is_found_out(server: FileServer, output: Path) -> None:
    server.files["/dogImages.zip"] = zip_of(dog_images())
    server.claims_more = -500
    with pytest.raises(ArchiveError, match="damaged or no zip archive"):
        fetch_dog_images(f"{server.url}/dogImages.zip", output)


def test_no_server_at_all_is_said_with_the_address(output: Path) -> None:
    with pytest.raises(Exception, match=r"http://127\.0\.0\.1:9/dogImages\.zip: .*refused"):
        fetch_dog_images("http://127.0.0.1:9/dogImages.zip", output, pause_seconds=0.01)


def test_a_folder_of_something_else_is_left_alone(output: Path) -> None:
    output.mkdir(parents=True)
    (output / "thesis.txt").write_text("five years of work")

    answer = prepare_data("--output", output)

    assert answer.returncode == 2
    assert "Move it away or choose another --output" in answer.stderr
    assert (output / "thesis.txt").exists()


# ── Archives that are not to be trusted ──────────────────────────────────────────────────────────────────


def link_to(target: str) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo("train/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry, target.encode()


def device() -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo("train/device")
    entry.external_attr = (stat.S_IFCHR | 0o666) << 16
    return entry, b""


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([("../escaped.jpg", b"x")], "leads out"),
        ([("train/../../escaped.jpg", b"x")], "leads out"),
        ([("/escaped.jpg", b"x")], "leads out"),
        ([("C:/escaped.jpg", b"x")], "leads out"),
        ([("..\\escaped.jpg", b"x")], "leads out"),
        ([link_to("/etc")], "link or a device"),
        ([device()], "link or a device"),
        ([("train/a", b"x"), ("train/a", b"y")], "comes twice"),
        ([("train/a", b"x"), ("train/a/b", b"y")], "a file and a folder at once"),
    ],
)
def test_an_entry_that_could_write_elsewhere_is_refused(
    tmp_path: Path, entries: Entries, reason: str
) -> None:
    archive = tmp_path / "hostile.zip"
    archive.write_bytes(zip_of(entries))
    (folder := tmp_path / "folder").mkdir()

    with pytest.raises(ArchiveError, match=reason):
        unpack(archive, folder)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "hostile.zip"]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ArchiveLimits(), "are a bomb"),
        (ArchiveLimits(ratio=1e9, total_bytes=5_000_000), "more than 100,000 files or 0.0 GB"),
        (ArchiveLimits(ratio=1e9, files=1), "more than 1 files"),
    ],
)
def test_a_bomb_is_refused_before_the_first_byte(tmp_path: Path, limits: ArchiveLimits, reason: str) -> None:
    archive = tmp_path / "bomb.zip"
    archive.write_bytes(
        zip_of([("train/a", bytes(4_000_000)), ("train/b", bytes(4_000_000))], zipfile.ZIP_DEFLATED)
    )
    (folder := tmp_path / "folder").mkdir()

    with pytest.raises(ArchiveError, match=reason):
        unpack(archive, folder, limits)

    assert list(folder.iterdir()) == []


def test_a_bomb_that_lies_about_its_size_writes_no_more_than_it_said(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    honest = zip_of([("train/a", bytes(4_000_000))], zipfile.ZIP_DEFLATED)
    archive.write_bytes(honest.replace((4_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    (folder := tmp_path / "folder").mkdir()

    with pytest.raises(ArchiveError, match="Bad CRC"):
        unpack(archive, folder)

    assert (folder / "train/a").stat().st_size <= 1000


def test_a_damaged_picture_in_the_archive_is_found_by_its_checksum(tmp_path: Path) -> None:
    archive = tmp_path / "damaged.zip"
    archive.write_bytes(zip_of([("train/a", b"a picture")]).replace(b"a picture", b"a pictura"))

    with pytest.raises(ArchiveError, match="Bad CRC"):
        unpack(archive, tmp_path)


# ── Folders that a person names with DATA= ───────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes with one file each in every split."""
    for split in SPLITS:
        for name in ("001.Akita", "002.Beagle"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "one.jpg").write_bytes(b"picture")
    return tmp_path


def test_a_good_folder_is_described(folder: Path) -> None:
    (folder / "train" / ".DS_Store").write_bytes(b"junk")
    (folder / "train/001.Akita/.DS_Store").write_bytes(b"junk")
    images = read_image_folder(folder)
    assert images.classes == ("001.Akita", "002.Beagle")
    assert str(images) == f"{folder}: 2 classes, 2 train, 2 valid, 2 test files"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere does not exist\. It needs train/, valid/ and test/"):
        read_image_folder(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "dogs.zip").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"dogs\.zip is not a folder"):
        read_image_folder(tmp_path / "dogs.zip")


def test_a_missing_split_is_named(folder: Path) -> None:
    (folder / "valid").rename(folder / "validation")
    with pytest.raises(DatasetError, match="valid is missing"):
        read_image_folder(folder)


def test_a_split_without_classes_is_named(folder: Path) -> None:
    (folder / "test").rename(folder / "other")
    (folder / "test").mkdir()
    with pytest.raises(DatasetError, match="test has no class folders"):
        read_image_folder(folder)


def test_a_split_that_lacks_a_class_is_named(folder: Path) -> None:
    (folder / "valid/002.Beagle").rename(folder / "beagles")
    with pytest.raises(DatasetError, match=r"valid lacks 002\.Beagle: every split needs the same classes"):
        read_image_folder(folder)


def test_a_split_with_another_class_is_named(folder: Path) -> None:
    (folder / "test/003.Corgi").mkdir()
    with pytest.raises(DatasetError, match=r"test has 003\.Corgi, which train lacks"):
        read_image_folder(folder)


def test_an_empty_class_is_named(folder: Path) -> None:
    (folder / "train/001.Akita/one.jpg").rename(folder / "train/001.Akita/.hidden")
    with pytest.raises(DatasetError, match=r"train has no pictures for 001\.Akita"):
        read_image_folder(folder)


def test_a_class_whose_name_no_model_could_have_is_told(folder: Path) -> None:
    for split in SPLITS:
        (folder / split / "002.Beagle").rename(folder / split / os.fsdecode(b"002.Br\xfcnn"))

    with pytest.raises(DatasetError, match=r"are: 002.Br\\xfcnn. Rename them"):
        read_image_folder(folder)


def test_a_class_without_pictures_is_as_empty_as_one_without_files(folder: Path) -> None:
    (folder / "train/001.Akita/one.jpg").rename(folder / "train/001.Akita/notes.txt")
    with pytest.raises(DatasetError, match=r"train has no pictures for 001\.Akita"):
        read_image_folder(folder)


def test_the_launcher_and_the_job_take_the_same_files_for_pictures() -> None:
    assert pictures.SUFFIXES == EXTENSIONS


def test_the_launcher_counts_the_pictures_that_the_job_finds(folder: Path) -> None:
    akita = folder / "train/001.Akita"
    for name in ("nested/deep/a.JPG", "b.gif", "c.ppm", "d.tiff", "notes.txt", "nested/.hidden.jpg"):
        (akita / name).parent.mkdir(parents=True, exist_ok=True)
        (akita / name).write_bytes(b"picture")

    job = RobustImageFolder(folder / "train")

    assert sorted(file.file for file in job.quarantined) == sorted(  # none of these can be decoded
        file.relative_to(folder).as_posix() for file in pictures.below(folder / "train")
    )
    assert read_image_folder(folder).files["train"] == len(job.quarantined) == 6


def test_the_photographs_beside_the_checkout_are_a_good_folder(dogs: Path) -> None:
    images = read_image_folder(dogs)
    assert len(images.classes) == 120
    assert all(images.files[split] >= 120 for split in SPLITS)
