"""Asks a container as the platform does: over TCP and HTTP, with the platform's patience.

Called by `examined_image`.
"""

import asyncio
import io
import json
import pickle
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image

OK = 200
JSON, NPY, CSV, JPEG = "application/json", "application/x-npy", "text/csv", "image/jpeg"
_PATIENCE_SECONDS = 10.0  # longer than the platform's, so that what is slow is told from what is dead
_INVOKE_SECONDS = 60.0  # the platform's, for /invocations
_MOST_BYTES = 2**20  # of an answer; what goes on then has no end
_CONNECTIONS = 5  # at a time
_ROUNDS = 3  # the best counts: this machine may be busy


@dataclass(frozen=True)
class Answer:
    """What a request was answered: a status, if one came, and in words why that is not a whole answer."""

    status: int | None
    trouble: str = ""

    @property
    def whole(self) -> int | None:
        """The status of an answer that has come to its end."""
        return None if self.trouble else self.status


class Probe:
    """Asks one port of one address; a status of None is no answer, or one without an end."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self.port = address, port

    def ping(self) -> int | None:
        """Return the status of GET /ping."""
        return self.answer_to_ping().whole

    def answer_to_ping(self) -> Answer:
        """Return what GET /ping is answered."""
        return self.answer("GET", "/ping", seconds=_PATIENCE_SECONDS)

    def invoke(self, path: str = "/invocations", kind: str = JSON) -> int | None:
        """Return the status that a sample of a content type is answered with: always the same sample."""
        return self.ask("POST", path, content=_sample(kind), headers={"Content-Type": kind})

    def send_json(self, path: str, content: Mapping[str, str]) -> int | None:
        """Return the status of a POST."""
        body = json.dumps(content).encode()
        return self.ask("POST", path, content=body, headers={"Content-Type": JSON})

    def send_pickle(self, marker: str) -> int | None:
        """Send an .npy array of objects, which makes the file `marker` where it is unpickled."""
        return self.ask(
            "POST",
            "/invocations",
            content=pickled_array(marker),
            headers={"Content-Type": NPY, "Accept": JSON},
        )

    def ask(self, method: str, path: str, **request: Any) -> int | None:
        """Return the status of a request."""
        return self.answer(method, path, **request).whole

    def answer(self, method: str, path: str, *, seconds: float = _INVOKE_SECONDS, **request: Any) -> Answer:
        """Return what a request on a connection of its own is answered within so many seconds, all in all."""
        if not self._address:
            return Answer(None, "it has ended")
        url = f"http://{self._address}:{self.port}{path}"
        return asyncio.run(_answer(method, url, seconds, request))

    def ping_seconds(self) -> float:
        """Return how long /ping takes, at best."""
        return min(self._timed_pings())

    def _timed_pings(self) -> Iterator[float]:
        for _ in range(_ROUNDS):
            began = time.monotonic()
            yield time.monotonic() - began if self.ping() else _PATIENCE_SECONDS

    def connect_seconds(self) -> float:
        """Return how long the slowest of a few connections at a time takes to be accepted, at best."""
        return min(self._slowest_connection() for _ in range(_ROUNDS))

    def _slowest_connection(self) -> float:
        slowest = 0.0
        with ExitStack() as connections:
            for _ in range(_CONNECTIONS):
                began = time.monotonic()
                try:
                    connections.enter_context(
                        socket.create_connection((self._address, self.port), timeout=_PATIENCE_SECONDS)
                    )
                except OSError:
                    return _PATIENCE_SECONDS
                slowest = max(slowest, time.monotonic() - began)
        return slowest


async def _answer(method: str, url: str, seconds: float, request: Mapping[str, Any]) -> Answer:
    """The time bounds the whole, which httpx's own timeouts do not: they begin anew with every byte."""
    status, count = None, 0
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(timeout=seconds, trust_env=False) as client,
            client.stream(method, url, **request) as response,
        ):
            status = response.status_code
            async for piece in response.aiter_raw():
                count += len(piece)
                if count > _MOST_BYTES:
                    return Answer(status, f"answered {status} without an end: {count:,} bytes had come")
    except (TimeoutError, httpx.TimeoutException):
        if status is None:
            return Answer(None, f"not answered within {seconds:.0f} s")
        return Answer(status, f"answered {status} without an end: {count:,} bytes in {seconds:.0f} s")
    except httpx.ConnectError:
        return Answer(None, "not answered: nothing listens there")
    except httpx.HTTPError:
        return Answer(None, "answered with what is no HTTP, or breaks off")
    return Answer(status)


def _sample(kind: str) -> bytes:
    """Return what a server of a content type should be able to read, whatever it makes of it."""
    if kind != JPEG:
        return {JSON: b"{}", CSV: b"1,2,3\n"}[kind]
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "JPEG")
    return picture.getvalue()


class _MakesFile:
    """Unpickles to an open file of the name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self._name, "w")


def pickled_array(marker: str) -> bytes:
    """Return an .npy file of one object, as `numpy.save` writes it with `allow_pickle`.

    https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    description = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header = description.ljust(64 * 2 - 10 - 1) + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    return start + header + pickle.dumps(_MakesFile(marker), protocol=4)
