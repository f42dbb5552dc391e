"""`make predict`: what it refuses before an engine could make folders of it, and how paths are mounted."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import SettingsError
from launcher.offline import predict_command

ROOT = Path(__file__).parents[3]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "a job/model").mkdir(parents=True)
    (tmp_path / "a job/model/artifact.json").write_text("{}")
    return tmp_path / "a job"


def command(job: Path, *paths: Path) -> list[str]:
    return predict_command("docker", image="serve", job=job, paths=paths, options=[], terminal=False)


def test_without_a_model_nothing_is_run_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="train one first"):
        command(tmp_path / "runs/latest", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_does_not_exist_is_named(job: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"typo\.jpg does not exist"):
        command(job, tmp_path / "typo.jpg")


def test_odd_names_are_mounted_as_they_are(job: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'my, "dogs": all'
    folder.mkdir()

    program = command(job, folder)

    quoted = str(folder).replace('"', '""')
    assert f'"type=bind","source={quoted}","target=/data{quoted}","readonly"' in program
    assert program[-1] == f"/data{folder}"
    assert program[program.index("--network") + 1] == "none"


def test_a_relative_path_is_mounted_without_its_dots(job: Path, tmp_path: Path) -> None:
    (tmp_path / "dog.jpg").touch()

    program = command(job, job / ".." / "dog.jpg")

    assert program[-1] == f"/data{tmp_path}/dog.jpg"


def test_the_script_says_what_is_missing(tmp_path: Path) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            ROOT / "scripts/predict.py",
            tmp_path,
            "--backend",
            "process",
            "--job",
            tmp_path / "none",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 2
    assert "there is no model in" in ran.stderr
    assert "Traceback" not in ran.stderr


def explain(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts/explain.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_explaining_here_is_predict_with_explanations(job: Path, tmp_path: Path) -> None:
    (tmp_path / "dog.jpg").touch()

    ran = explain(
        tmp_path / "dog.jpg", "--backend", "process", "--model", job, "--output", "why", "--dry-run"
    )

    expected = predict_command(
        "process",
        image="",
        job=job,
        paths=[tmp_path / "dog.jpg"],
        options=[],
        terminal=False,
        explain=Path("why"),
    )
    assert ran.returncode == 0, ran.stderr
    assert shlex.split(ran.stdout) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s3://bucket/photos"], "s3:// is for --backend aws"),
        (
            ["dog.jpg", "--attach", "dogs-why", "--format", "png"],
            "--attach, --format: only with --backend aws",
        ),
        ([], "the photographs are needed"),
    ],
)
def test_explaining_here_says_what_is_for_aws_and_what_is_needed(arguments: list[str], said: str) -> None:
    ran = explain(*arguments, "--backend", "process")

    assert ran.returncode == 2
    assert ran.stderr.startswith(f"error: {said}")


def test_explanations_are_written_by_their_owner_into_a_folder_of_the_host(job: Path, tmp_path: Path) -> None:
    (tmp_path / "dog.jpg").touch()
    out = tmp_path / "out"

    program = predict_command(
        "docker",
        image="serve",
        job=job,
        paths=[tmp_path / "dog.jpg"],
        options=[],
        terminal=False,
        explain=out,
    )

    assert out.is_dir()
    assert f'"type=bind","source={out}","target=/explanations"' in program
    assert program[program.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    assert program[-3:-1] == ["--explain", "/explanations"]
    assert program[program.index("serve") + 1] == "predict"
