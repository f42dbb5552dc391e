"""A full disk under the launcher's own files: one line that says what to do, and nothing half-made."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture
def full_disk(tmp_path: Path, mount_disk: Callable[[Path, str], Path], fill: Callable[[Path], Path]) -> Path:
    """A file system without a free byte."""
    disk = mount_disk(tmp_path / "disk", "64k")
    fill(disk)
    return disk


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The smallest picture set that a job takes."""
    for split in ("train", "valid", "test"):
        for name in ("001.Black", "002.White"):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), name[4:].lower()).save(folder / "a.png")
    return tmp_path / "pictures"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_a_job_is_not_started_and_its_folder_is_removed(full_disk: Path, pictures: Path) -> None:
    ran = run(
        SCRIPTS / "launch_training.py",
        "--backend",
        "process",
        "--data",
        pictures,
        "--output",
        full_disk / "runs",
    )

    assert ran.returncode == 1
    assert f"the disk of {full_disk}" in ran.stderr or "the disk is full" in ran.stderr
    assert "make room" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert [path for path in full_disk.rglob("*") if path.name.startswith("dog-breeds-")] == []


def test_drawings_are_made_whole_or_not_at_all(full_disk: Path) -> None:
    ran = run(SCRIPTS / "prepare_data.py", "--draw", full_disk / "drawn")

    assert ran.returncode == 1
    assert "full: make room" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert sorted(path.name for path in full_disk.iterdir()) == ["ballast"]
