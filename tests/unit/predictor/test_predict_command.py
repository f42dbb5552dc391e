"""`predict` as a person calls it: a process, its output, its exit code."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running_server import CODE, command_environment, without_the_right_to_read_all
from tiny_artifact import CLASSES


def _predict(base: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CODE / "predict.py"), *map(str, arguments)],
        env=command_environment(base),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=without_the_right_to_read_all,
    )


@pytest.fixture
def pictures(tmp_path: Path, jpeg: bytes) -> Path:
    folder = tmp_path / "pictures"
    for name in ("b/two.JPG", "a/one.jpeg", "a/z.png", ".hidden/no.jpg", "a/.no.jpg", "a/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg)
    return folder


def test_a_folder_is_searched_sorted_and_without_hidden_files(base_folder: Path, pictures: Path) -> None:
    done = _predict(base_folder, pictures, "--format", "json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [answer["file"] for answer in answers] == [
        str(pictures / name) for name in ("a/one.jpeg", "a/z.png", "b/two.JPG")
    ]
    assert len(answers[0]["top"]) == 5
    assert set(answers[0]["top"][0]) == {"name", "label", "probability"}
    assert answers[0]["top"] == answers[1]["top"] == answers[2]["top"]
    assert done.stderr == ""


def test_an_unreadable_picture_is_said_and_the_others_are_answered(base_folder: Path, pictures: Path) -> None:
    (pictures / "a" / "one.jpeg").write_bytes(b"no picture")
    done = _predict(base_folder, pictures, pictures / "gone.jpg", "--format", "json")
    assert done.returncode == 1
    broken, *good, gone = json.loads(done.stdout)
    assert broken == {
        "file": str(pictures / "a/one.jpeg"),
        "error": "the picture is no JPEG, PNG, WebP, GIF, BMP, TIFF or PPM file",
    }
    assert gone["error"] == "No such file or directory"
    assert all(len(answer["top"]) == 5 for answer in good)
    assert "one.jpeg: the picture is no JPEG" in done.stderr
    assert "Traceback" not in done.stderr


def test_csv_has_a_row_for_each_guess_and_each_error(base_folder: Path, pictures: Path) -> None:
    (pictures / "b" / "two.JPG").write_bytes(b"")
    done = _predict(base_folder, pictures / "a" / "z.png", pictures / "b", "--format", "csv", "--top-k", "2")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == ["file", "rank", "name", "label", "probability", "error"]
    assert [row["rank"] for row in rows] == ["1", "2", ""]
    assert rows[0]["name"] in CLASSES
    assert rows[2]["error"]
    assert done.returncode == 1


def test_the_table_shows_labels_and_percentages(base_folder: Path, pictures: Path) -> None:
    done = _predict(base_folder, pictures / "a", "--top-k", "9")
    assert done.returncode == 0
    assert done.stdout.count("Afghan hound") == 2
    assert done.stdout.count("%") == 12


def test_the_output_file_appears_complete(base_folder: Path, pictures: Path, tmp_path: Path) -> None:
    done = _predict(base_folder, pictures, "--format", "json", "--output", tmp_path / "answers.json")
    assert done.returncode == 0
    assert done.stdout == ""
    assert len(json.loads((tmp_path / "answers.json").read_text())) == 3
    assert not list(tmp_path.glob(".*partial"))


def test_an_output_that_cannot_be_written_is_said(base_folder: Path, pictures: Path, tmp_path: Path) -> None:
    done = _predict(base_folder, pictures, "--output", tmp_path / "missing" / "answers.json")
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_said(base_folder: Path, pictures: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(CODE / "predict.py"), str(pictures), "--format", "csv"],
            env=command_environment(base_folder),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_pictures_is_wrong_usage(base_folder: Path, tmp_path: Path) -> None:
    done = _predict(base_folder, tmp_path)
    assert done.returncode == 2
    assert f"no picture in {tmp_path}" in done.stderr


def test_a_path_that_does_not_exist_is_wrong_usage(base_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = _predict(base_folder, tmp_path / "nope", tmp_path / "nope", tmp_path / "empty")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"predict: {tmp_path / 'nope'} does not exist",
        f"predict: no picture in {tmp_path / 'empty'}",
    ]


def test_a_folder_that_cannot_be_read_is_said_and_the_others_are_answered(
    base_folder: Path, pictures: Path
) -> None:
    (pictures / "b").chmod(0)
    done = _predict(base_folder, pictures, "--format", "json")
    (pictures / "b").chmod(0o700)
    assert done.returncode == 1
    *good, locked = json.loads(done.stdout)
    error = "the folder cannot be read: Permission denied"
    assert locked == {"file": str(pictures / "b"), "error": error}
    assert [Path(answer["file"]).name for answer in good] == ["one.jpeg", "z.png"]
    assert done.stderr == f"predict: {pictures / 'b'}: {error}\n"


def test_a_picture_in_a_folder_that_cannot_be_entered_is_said(base_folder: Path, pictures: Path) -> None:
    (pictures / "b").chmod(0)
    done = _predict(base_folder, pictures / "b" / "two.JPG", "--format", "csv")
    (pictures / "b").chmod(0o700)
    assert done.returncode == 1
    assert done.stderr == f"predict: {pictures / 'b' / 'two.JPG'}: Permission denied\n"


def test_pictures_of_other_formats_are_counted(base_folder: Path, pictures: Path, jpeg: bytes) -> None:
    for name in ("a/x.heic", "a/y.HEIC", "b/z.avif"):
        (pictures / name).write_bytes(jpeg)
    done = _predict(base_folder, pictures, pictures / "a", "--format", "json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == 3
    assert done.stderr == "predict: 3 files of other formats left out: .avif (1), .heic (2)\n"


@pytest.mark.parametrize("arguments", [["x.jpg", "--top-k", "0"], ["x.jpg", "--format", "xml"], []])
def test_wrong_arguments_are_wrong_usage(base_folder: Path, arguments: list[str]) -> None:
    done = _predict(base_folder, *arguments)
    assert done.returncode == 2
    assert "usage: predict" in done.stderr


def test_a_missing_model_is_said_with_its_place(tmp_path: Path, pictures: Path) -> None:
    done = _predict(tmp_path / "nowhere", pictures)
    assert done.returncode == 1
    assert f"{tmp_path}/nowhere/model" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["artifact.json", "model.bin", "."])
def test_a_model_that_may_not_be_read_is_said(
    base_folder: Path, pictures: Path, tmp_path: Path, name: str
) -> None:
    model = tmp_path / "locked"
    shutil.copytree(base_folder / "model", model)
    (model / name).chmod(0)
    done = _predict(base_folder, pictures, "--model-dir", model)
    (model / name).chmod(0o700)
    assert done.returncode == 1
    file = "artifact.json" if name == "." else name
    said = f"the model cannot be used: {file} cannot be read: Permission denied ({model / file}). "
    assert done.stderr.startswith(f"predict: {said}Let user {os.geteuid()}")
    assert "chmod -R a+rX" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_model_folder_can_be_named(base_folder: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(base_folder / "model", tmp_path / "elsewhere")
    done = _predict(tmp_path, pictures, "--model-dir", tmp_path / "elsewhere", "--format", "csv")
    assert done.returncode == 0, done.stderr


def test_a_pipe_in_place_of_a_picture_does_not_hang(base_folder: Path, tmp_path: Path, jpeg: bytes) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dog.jpg").write_bytes(jpeg)
    done = _predict(base_folder, tmp_path, "--format", "csv")
    assert done.returncode == 1
    assert "pipe.jpg: not a plain file" in done.stderr


def _entrypoint(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CODE / "entrypoint.py"), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "usage: docker run IMAGE"),
        (["dance"], 2, "unknown command 'dance'"),
        (["train"], 2, "this is the serving image"),
        (["--help"], 0, "serve the model over HTTP"),
        (["serve", "--help"], 0, "SAGEMAKER_BIND_TO_PORT"),
        (["predict", "--help"], 0, "--top-k"),
        (["predict"], 2, "usage: predict"),
    ],
)
def test_the_entrypoint_knows_its_commands(arguments: list[str], code: int, said: str) -> None:
    done = _entrypoint(*arguments)
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def test_memory_does_not_grow_with_the_number_of_pictures(base_folder: Path, pictures: Path) -> None:
    many = pictures / "many"
    many.mkdir()
    for number in range(300):
        os.link(pictures / "a" / "one.jpeg", many / f"{number}.jpg")
    program = "import predict, resource, sys; code = predict.main(sys.argv[1:]);"
    program += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    peaks = []
    for folder in (pictures / "a", many):
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder), "--format", "json"],
            env=command_environment(base_folder, PYTHONPATH=str(CODE)),
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stderr))
    assert peaks[1] - peaks[0] < 40_000, f"peaks in KiB: {peaks}"
