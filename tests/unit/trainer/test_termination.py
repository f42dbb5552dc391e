"""SIGTERM: where it interrupts at once, where it waits, and what a second one does."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from trainer.termination import Stop, Terminated

CODE = Path(__file__).parents[3] / "container_train"


@pytest.fixture
def stop() -> Iterator[Stop]:
    """A stop that listens; the handlers of the test run are brought back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    stop = Stop()
    with stop.installed():
        yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def sleep() -> None:
    time.sleep(1)


def multiply() -> None:
    """One long call of a library, in which Python runs no handler."""
    torch.ones(2048, 2048) @ torch.ones(2048, 2048)
    time.sleep(1)


@pytest.mark.parametrize("work", [sleep, multiply])
def test_outside_deferred_it_interrupts_what_runs(stop: Stop, work: Callable[[], None]) -> None:
    threading.Timer(0.02, terminate).start()
    done = False

    with pytest.raises(Terminated):
        work()
        done = True

    assert stop.requested
    assert not done


@pytest.mark.parametrize("work", [sleep, multiply])
def test_inside_deferred_the_work_ends_first(stop: Stop, work: Callable[[], None]) -> None:
    threading.Timer(0.02, terminate).start()
    done = False

    with stop.deferred():
        work()
        done = True
    time.sleep(0.01)  # leaving does not raise by itself

    assert done
    assert stop.requested
    with pytest.raises(Terminated):
        stop.check()


def test_without_a_request_a_check_passes(stop: Stop) -> None:
    stop.check()

    assert not stop.requested


def test_a_nested_deferral_lasts_until_the_outer_one_ends(stop: Stop) -> None:
    with stop.deferred():
        with stop.deferred():
            pass
        terminate()

    with pytest.raises(Terminated):
        terminate()


def test_a_deferral_ends_with_an_error_too(stop: Stop) -> None:
    with pytest.raises(ValueError, match="went wrong"), stop.deferred():
        raise ValueError("went wrong")

    with pytest.raises(Terminated):
        terminate()


@pytest.mark.parametrize("first", ["signal", "check"])
def test_a_second_signal_does_not_disturb_what_is_being_put_down(stop: Stop, first: str) -> None:
    put_down = False

    with pytest.raises(Terminated):
        try:
            if first == "signal":
                terminate()
            else:
                with stop.deferred():
                    terminate()
                stop.check()
        finally:
            terminate()
            time.sleep(0.01)
            put_down = True

    assert put_down


def test_a_request_that_nobody_looked_at_does_not_make_the_next_signal_deaf(stop: Stop) -> None:
    with stop.deferred():
        terminate()

    with pytest.raises(Terminated):
        terminate()


def test_an_import_is_finished_first(stop: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in two parts, whose importer swallows every exception, as libraries in C do."""
    (tmp_path / "half_and_half.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.1)\n"
        "except BaseException:\n"
        "    pass\n"
        "else:\n"
        "    whole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(Terminated):
        importlib.import_module("half_and_half")
        time.sleep(10)

    assert sys.modules.pop("half_and_half").whole


def test_the_handler_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with Stop().installed():
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before


def fork() -> int:
    """A child that runs for a minute; Python drops what signals arrive before it is set up."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    return child


@pytest.mark.parametrize("context", [Stop.deferred, contextlib.nullcontext])
def test_a_forked_child_dies_of_the_signal_as_any_process(
    stop: Stop, context: Callable[[Stop], contextlib.AbstractContextManager[object]]
) -> None:
    with context(stop):
        child = fork()
    os.kill(child, signal.SIGTERM)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


PROGRAM = """
import atexit, sys, time
from pathlib import Path
from trainer.failures import run_program

atexit.register(time.sleep, 0.3)

def program(stop):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("stopping", flush=True)
        time.sleep(0.3)
        print("put down", flush=True)

sys.exit(run_program(program, failure_file=Path(sys.argv[1])))
"""


def test_any_number_of_signals_until_the_process_is_gone_ends_it_once_with_0(tmp_path: Path) -> None:
    failure = tmp_path / "failure"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, failure],
        env={**os.environ, "PYTHONPATH": str(CODE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    sent = 0
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        sent += 1
        time.sleep(0.005)
    said, complained = process.communicate()

    assert process.returncode == 0
    assert said.splitlines() == ["stopping", "put down"]
    assert complained == "stopped by SIGTERM; the same command continues from here\n"
    assert sent > 20
    assert not failure.exists()
