"""How a program ends: exit code, one line on stderr, the same line in the failure file."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from trainer.failures import DataError, UsageError, run_program
from trainer.termination import Stop

Program = Callable[[Stop], None]


@pytest.fixture(autouse=True)
def _bring_the_handler_back() -> Iterator[None]:
    """A program that was stopped leaves SIGTERM ignored: it is about to end, this one is not."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def fail(error: BaseException) -> Program:
    def program(stop: Stop) -> None:
        raise error

    return program


@pytest.mark.parametrize(
    ("program", "code", "line"),
    [
        (lambda stop: None, 0, ""),
        (fail(DataError("no pictures\n  at all")), 1, "no pictures at all"),
        (fail(UsageError("epochs must be 1")), 2, "epochs must be 1"),
        (lambda stop: signal.raise_signal(signal.SIGINT), 130, "interrupted"),
    ],
)
def test_every_end_has_its_code_and_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], program: Program, code: int, line: str
) -> None:
    failure = tmp_path / "failure"

    assert run_program(program, failure_file=failure) == code

    assert capsys.readouterr().err == (f"error: {line}\n" if line else "")
    assert (failure.read_text() if failure.exists() else "") == (f"{line}\n" if line else "")


def stop_at_once(stop: Stop) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def stop_when_the_step_is_done(stop: Stop) -> None:
    with stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
    stop.check()


@pytest.mark.parametrize("program", [stop_at_once, stop_when_the_step_is_done])
def test_a_stop_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str], program: Program) -> None:
    assert run_program(program, failure_file=tmp_path / "failure") == 0

    assert capsys.readouterr().err == "stopped by SIGTERM; the same command continues from here\n"
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_stopping_is_a_failure(tmp_path: Path) -> None:
    def program(stop: Stop) -> None:
        with stop.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
        raise DataError("no pictures")

    assert run_program(program, failure_file=tmp_path / "failure") == 1
    assert (tmp_path / "failure").read_text() == "no pictures\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def program(stop: Stop) -> None:
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


class LostPicture(Dataset[int]):
    """Pictures of which one has gone since the job started."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise DataError("9.jpg could be read when the job started")


def test_a_loader_processs_error_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    def program(stop: Stop) -> None:
        list(DataLoader(LostPicture(), num_workers=1))

    assert run_program(program, failure_file=None) == 1

    assert capsys.readouterr().err == "error: 9.jpg could be read when the job started\n"
