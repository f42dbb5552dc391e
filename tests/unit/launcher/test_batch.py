"""A whole folder's predictions in one file, each with its picture's name."""

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from tiny_artifact import write_tiny_artifact

from launcher import batch

SCRIPT = Path(__file__).parents[3] / "scripts/batch_transform.py"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_artifact(folder / "model")
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        for file in (folder / "model").iterdir():
            tar.add(file, file.name)
    return folder / "model.tar.gz"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a, b/1.jpg", "a, b/2.png", "ü.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (300, 260), (200, 30, len(name))).save(folder / name)
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_every_picture_has_a_line_and_a_bad_one_an_error(
    archive: Path, photographs: Path, tmp_path: Path, form: str
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, SCRIPT, photographs, "--backend", "process", "--model", archive),
            *("--format", form, "--output", tmp_path / "out"),
        ],
        env=os.environ | {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert "1 pictures have an error instead of a prediction" in done.stderr
    file = tmp_path / f"out/predictions.{form}"
    assert done.stdout.splitlines()[-1] == str(file)
    found = _read(file)
    assert list(found) == ["a, b/1.jpg", "a, b/2.png", "bad.jpg", "ü.jpg"]
    assert [bool(error) for error, _ in found.values()] == [False, False, True, False]
    assert [best > 0 for _, best in found.values()] == [True, True, False, True]
    assert list((tmp_path / "out").iterdir()) == [file]


def _read(file: Path) -> dict[str, tuple[str, float]]:
    """Return each picture's error, and its best breed's probability."""
    text = file.read_text()
    if file.suffix == ".csv":
        rows = csv.DictReader(text.splitlines())
        return {row["file"]: (row["error"], float(row["probability_1"] or 0)) for row in rows}
    lines = [json.loads(line) for line in text.splitlines()]
    return {
        line["file"]: (
            line.get("error", {}).get("message", ""),
            line.get("top", [{"probability": 0}])[0]["probability"],
        )
        for line in lines
    }


def test_the_csv_has_as_many_columns_as_the_longest_answer_and_quotes_names() -> None:
    named = [("a,b.jpg", b",x,0.9,y,0.1\n"), ("c.jpg", b'bad_request,"picture 0: no, it is not"\n')]

    lines = batch.joined(named, "csv").decode().splitlines()

    assert lines == [
        "file,error,breed_1,probability_1,breed_2,probability_2",
        '"a,b.jpg",,x,0.9,y,0.1',
        'c.jpg,"bad_request: picture 0: no, it is not"',
    ]
    assert batch.refused(batch.joined(named, "csv"), "csv") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s3://bucket/photos"], "s3://bucket/photos is for --backend aws: here it takes a FOLDER"),
        (["a", "--instances", "2"], "--instances: only with --backend aws"),
        ([], "the photographs are needed"),
        (["nowhere"], "nowhere does not exist"),
        (["."], "no pictures in ."),
    ],
)
def test_a_wrong_setting_is_said(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments, "--backend", "process", "--model", "none.tar.gz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 2
    assert message in done.stderr
