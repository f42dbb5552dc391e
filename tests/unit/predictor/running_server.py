"""Starts `serve.py` as a process and talks HTTP to it."""

import ctypes
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from memory_growth import memory_of

CODE = Path(__file__).parents[3] / "container_serve"


def free_port() -> int:
    """A free port that multi-model-server accepts: below 32,767."""
    for _ in range(100):
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port between 20,000 and 32,000")


def command_environment(base: Path, **variables: str) -> dict[str, str]:
    """This process's environment, with the contract folder and further variables."""
    return {**os.environ, "SAGEMAKER_BASE_DIR": str(base), **variables}


def without_the_right_to_read_all() -> None:
    """For `preexec_fn`: root, too, is refused what a file's mode does not allow."""
    drop_from_bounding_set = 24  # PR_CAPBSET_DROP, linux/prctl.h
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


class Answer:
    """Status, headers by lower-case name, and body of one HTTP answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)


class Clients:
    """Clients that ask one picture after the other, each on its own connection, until the server is gone."""

    def __init__(self, port: int, body: bytes, *, count: int, host: str = "127.0.0.1") -> None:
        self.statuses: Counter[int] = Counter()
        self.refused = 0
        self.lost: list[str] = []  # a request that got part of an answer
        self.closed: list[str] = []  # a request whose connection ended before the first byte of an answer
        self._address, self._body = (host, port), body
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(count)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for_answers(self, count: int, timeout: float = 60) -> None:
        """Wait until `count` more requests are answered."""
        enough = self.statuses.total() + count
        deadline = time.monotonic() + timeout
        while self.statuses.total() < enough:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {self.statuses} and {self.lost} within {timeout} s")
            time.sleep(0.01)

    def _ask_on(self) -> None:
        connection = None
        while not self._ended.is_set() or connection:
            try:
                connection = connection or self._connect()
            except OSError:  # refused; or, of a container that has ended, no such address
                with self._lock:
                    self.refused += 1
                return
            connection = self._ask(connection)
            if self._ended.is_set() and connection:
                connection.close()
                return

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        connection.connect()
        return connection

    def _ask(self, connection: http.client.HTTPConnection) -> http.client.HTTPConnection | None:
        """Send one request; return the connection if it can be used again."""
        answer = None
        try:
            connection.request("POST", "/invocations", self._body, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            with self._lock:
                (self.lost if answer else self.closed).append(repr(error))
            connection.close()
            return None
        with self._lock:
            self.statuses[answer.status] += 1
        return None if answer.will_close else connection


class RunningServer:
    """`serve.py` running on a port of its own; killed at the end of its `with` block."""

    def __init__(self, base: Path, **variables: str) -> None:
        self.port = free_port()
        self.log = base / f"serve-{self.port}.log"
        self._environment = command_environment(base, SAGEMAKER_BIND_TO_PORT=str(self.port), **variables)

    def __enter__(self) -> "RunningServer":
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(CODE / "serve.py")],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=30)

    def wait_until_ready(self, timeout: float = 60) -> None:
        """Wait for the supervisor's own word that every worker has loaded the model."""
        deadline = time.monotonic() + timeout
        while "serve: ready" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def logged(self, answer: Answer, timeout: float = 10) -> list[str]:
        """The log's lines of an answer; the first is written a moment after it."""
        deadline = time.monotonic() + timeout
        while True:
            lines = [
                line for line in self.log.read_text().splitlines() if answer.headers["x-request-id"] in line
            ]
            if lines or time.monotonic() > deadline:
                return lines
            time.sleep(0.02)

    def descendants(self) -> list[psutil.Process]:
        """Java, the workers, and nginx with its one."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def megabytes(self) -> float:
        """Memory of the server's processes but for files, of which each has what others leave it."""
        return memory_of(self.process.pid)["Anon"] / 1e6

    def java(self) -> psutil.Process:
        """The model server's Java process."""
        return next(process for process in self.descendants() if process.name() == "java")

    def workers(self) -> list[psutil.Process]:
        """The processes that have the model; the model server starts each as the child of another."""
        return [process for child in self.java().children() for process in child.children()]

    def nginx(self) -> psutil.Process:
        """The one of nginx's processes that starts the others."""
        return next(process for process in self.descendants() if process.name() == "nginx")

    def ask(
        self, body: bytes = b"", *, path: str = "/invocations", method: str = "POST", **headers: str
    ) -> Answer:
        """Send one request; header names are given with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            return Answer(connection.getresponse())
        finally:
            connection.close()
