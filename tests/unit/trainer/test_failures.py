"""How a program ends: exit code, one line on stderr, the same line in the failure file."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.data import RobustImageFolder, make_loader
from trainer.failures import DataError, UsageError, run_program
from trainer.transforms import Preprocessing, evaluation_transform


def fail(error: BaseException) -> Callable[[], None]:
    def program() -> None:
        raise error

    return program


@pytest.mark.parametrize(
    ("program", "code", "line"),
    [
        (lambda: None, 0, ""),
        (fail(DataError("no pictures\n  at all")), 1, "no pictures at all"),
        (fail(UsageError("epochs must be 1")), 2, "epochs must be 1"),
        (lambda: signal.raise_signal(signal.SIGINT), 130, "interrupted"),
        (
            lambda: os.kill(os.getpid(), signal.SIGTERM),
            143,
            "stopped by SIGTERM before training was complete",
        ),
    ],
)
def test_every_end_has_its_code_and_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], program: Callable[[], None], code: int, line: str
) -> None:
    failure = tmp_path / "failure"

    assert run_program(program, failure_file=failure) == code

    assert capsys.readouterr().err == (f"error: {line}\n" if line else "")
    assert (failure.read_text() if failure.exists() else "") == (f"{line}\n" if line else "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        with Path("/dev/full").open("w") as stream:
            stream.write("x")

    assert run_program(program, failure_file=None) == 1
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where nobody can make a file")
def test_a_failure_file_that_cannot_be_written_changes_neither_line_nor_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_program(fail(DataError("no pictures")), failure_file=Path("/proc/failure")) == 1

    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: no pictures"
    assert said[1].startswith("/proc/failure cannot be written: ")


def test_a_defect_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_program(fail(ZeroDivisionError()), failure_file=tmp_path / "failure")


def test_the_first_failure_stays_in_the_file(tmp_path: Path) -> None:
    for message in ("first", "second"):
        run_program(fail(DataError(message)), failure_file=tmp_path / "failure")

    assert (tmp_path / "failure").read_text() == "first\n"


def test_a_loader_processs_error_is_one_line_too(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = RobustImageFolder(pictures / "train", evaluation_transform(Preprocessing(resize=40, crop=32)))
    loader = make_loader(split, batch_size=4, workers=1, seed=0, shuffle=False)
    (pictures / split.files[9]).unlink()

    assert run_program(lambda: list(loader) and None, failure_file=None) == 1

    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {pictures / split.files[9]} could be read when the job started")
