"""Starts `serve.py` as a process and talks HTTP to it."""

import ctypes
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

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

    def descendants(self) -> list[psutil.Process]:
        """Java and the workers."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def java(self) -> psutil.Process:
        """The model server's Java process."""
        return next(process for process in self.descendants() if process.name() == "java")

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
