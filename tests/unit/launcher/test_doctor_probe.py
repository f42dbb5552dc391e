"""The doctor's probe against servers that do what no server should: it comes back, and says what it saw."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat

import pytest

from launcher.doctor.probe import Answer, Probe

HEADERS = b"HTTP/1.1 200 OK\r\n\r\n"
OPEN = b"HTTP/1.1 200 OK\r\nX: "
PIECE = b"x" * 2**16


def slowly(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        time.sleep(0.05)


@contextmanager
def server(pieces: Callable[[], Iterable[bytes]]) -> Iterator[tuple[Probe, list[int]]]:
    """Give who connects these pieces, until that one has gone; yields a list of how many bytes it took."""
    sent: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def give() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                for piece in pieces():
                    connection.sendall(piece)
                    sent.append(len(piece))
                connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=give)
        thread.start()
        yield Probe("127.0.0.1", listening.getsockname()[1]), sent
        thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("seconds", "pieces", "status", "begins", "ends"),
    [
        (5, lambda: slowly([HEADERS, *repeat(b"x", 1000)]), 200, "answered 200 without an end", "in 5 s"),
        (1, lambda: slowly([OPEN, *repeat(b"x", 1000)]), None, "not answered within", "1 s"),
        (1, lambda: slowly(repeat(b"HTTP/1.1 100 Continue\r\n\r\n", 1000)), None, "not answered", "1 s"),
        (60, lambda: slowly([HEADERS]), 200, "", ""),
        (60, lambda: [HEADERS.replace(b"200 OK", b"503 No")], 503, "", ""),
        (60, lambda: [b"SSH-2.0-OpenSSH\r\n"], None, "answered with what is no HTTP", ""),
        (60, lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"], None, "answered with", "off"),
    ],
)  # fmt: skip
def test_an_answer_is_waited_for_as_a_whole(
    seconds: float, pieces: Callable[[], Iterable[bytes]], status: int | None, begins: str, ends: str
) -> None:
    with server(pieces) as (probe, _):
        answer = probe.answer("GET", "/ping", seconds=seconds)

    assert answer.status == status
    assert answer.trouble.startswith(begins)
    assert answer.trouble.endswith(ends)
    assert answer.whole == (None if begins else status)


@pytest.mark.parametrize("start", [HEADERS, OPEN])
def test_of_an_answer_that_never_ends_little_is_taken(start: bytes) -> None:
    with server(lambda: [start, *repeat(PIECE, 4096)]) as (probe, sent):
        answer = probe.answer("GET", "/ping", seconds=60)

    assert answer.whole is None
    assert sum(sent) < 64 * 2**20  # what the sockets hold is the kernel's to decide


def test_where_nothing_listens_that_is_said() -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        probe = Probe("127.0.0.1", bound.getsockname()[1])

        assert probe.answer("GET", "/ping") == Answer(None, "not answered: nothing listens there")
        assert probe.ping() is None
