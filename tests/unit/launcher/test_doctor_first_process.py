"""What the doctor reads of a process from the kernel: where it listens, and whether it catches a signal."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.doctor.first_process import FirstProcess
from launcher.doctor.listening import Listening, Place


@pytest.mark.parametrize(
    ("address", "shown", "inside"),
    [
        ("127.0.0.1", "127.0.0.1:{}", True),
        ("0.0.0.0", "0.0.0.0:{}", False),
        ("::1", "[::1]:{}", True),
        ("::ffff:127.0.0.1", "127.0.0.1:{}", True),
    ],
)
def test_where_a_process_listens_is_seen(address: str, shown: str, inside: bool) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if family is socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with socket.socket(family) as listening:
        listening.bind((address, 0))
        port = listening.getsockname()[1]
        listening.listen()
        seen = [place for place in FirstProcess(os.getpid()).places() if place.port == port]

    assert [(str(place), place.inside) for place in seen] == [(shown.format(port), inside)]


OUTSIDE, INSIDE, ELSEWHERE = Place("0.0.0.0", 8080), Place("127.0.0.1", 8080), Place("::", 9000)


@pytest.mark.parametrize(
    ("listening", "begins"),
    [
        (Listening(), ""),
        (Listening((OUTSIDE, INSIDE)), ""),
        (Listening((INSIDE, ELSEWHERE)), "it listens on 127.0.0.1:8080 alone"),
        (Listening((ELSEWHERE,)), ""),  # 8080 may come yet
        (Listening((ELSEWHERE,), "9000"), "it listens on port 9000, as the image's own"),
        (Listening((OUTSIDE, ELSEWHERE), "9000"), ""),
    ],
)
def test_what_can_never_be_asked_is_told_from_what_may_come_yet(listening: Listening, begins: str) -> None:
    assert listening.amiss(8080)[: len(begins) or None] == begins


@pytest.mark.parametrize(
    ("line", "caught"),
    [("signal.signal(signal.SIGTERM, print)", True), ("signal.signal(signal.SIGINT, print)", False)],
)
def test_a_process_that_has_a_handler_is_known(line: str, caught: bool) -> None:
    program = f"import signal; {line}; print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()

        assert FirstProcess(process.pid).catches(signal.SIGTERM) is caught
        process.kill()


def test_of_a_process_that_has_ended_nothing_is_seen() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert FirstProcess(ended.pid).places() == ()
    assert not FirstProcess(ended.pid).catches(signal.SIGTERM)
