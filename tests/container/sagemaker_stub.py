"""A container that does all that SageMaker asks, of the standard library alone; FAULT spoils one thing.

Copied into the images of `bad_images`, and run there as their entrypoint.
"""

import json
import os
import pickle
import signal
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

FAULT = os.environ.get("FAULT", "")
ML = Path("/opt/ml")
ROOM = 3  # models


def train() -> int:
    """Wait for the other hosts, then look for data."""
    if FAULT == "train-ignores-sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if FAULT == "late-handler":  # as where much is imported first
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(6)
        signal.signal(signal.SIGTERM, end)
    hosts = json.loads((ML / "input/config/resourceconfig.json").read_text())["hosts"]
    while not set(hosts) <= set(Path("/etc/hosts").read_text().split()):
        time.sleep(0.1)
    if any((ML / "input/data/training").iterdir()):
        signal.pause()
    if FAULT != "no-failure-file":
        (ML / "output/failure").write_text("there is nothing to train on")
    return 1


class Handler(BaseHTTPRequestHandler):
    """Answers the platform."""

    many = os.environ.get("SAGEMAKER_MULTI_MODEL") == "true" and FAULT != "one-model-only"
    models: ClassVar[set[str]] = set()
    loaded = threading.Event()
    dead = threading.Event()

    def do_GET(self) -> None:
        if self.path != "/ping":
            return self.answer(self.unknown())
        if FAULT == "slow-ping":
            time.sleep(3)
        if FAULT == "dripping-ping":
            return self.drip()
        return self.answer(503 if self.dead.is_set() and FAULT != "ping-when-dead" else 200)

    def do_DELETE(self) -> None:
        self.answer(self.unknown())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/models" and self.many:
            return self.answer(self.load(json.loads(body)["model_name"]))
        if self.path != "/invocations":
            return self.answer(self.unknown())
        if FAULT == "unpickles" and body.startswith(b"\x93NUMPY"):
            pickle.loads(body[10 + int.from_bytes(body[8:10], "little") :])  # noqa: S301
        if FAULT == "cannot-predict":
            return self.answer(404 if body == b"{}" else 500)
        return self.answer(500 if self.dead.is_set() else 200 if self.loaded.is_set() else 503)

    def unknown(self) -> int:
        return 500 if FAULT == "no-404" and self.many else 404

    def load(self, name: str) -> int:
        if name in self.models and FAULT != "no-409":
            return 409
        if len(self.models) >= ROOM:
            return 500 if FAULT == "no-507" else 507
        self.models.add(name)
        return 200

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def drip(self) -> None:
        """Give one byte after the other, for ever."""
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # until who asked has gone
            while True:
                self.wfile.write(b"x")
                time.sleep(0.2)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """As it should be."""

    request_queue_size = 128
    daemon_threads = True


class SlowServer(HTTPServer):
    """Accepts one connection at a time, and those that wait for it are refused."""

    request_queue_size = 0

    def get_request(self) -> Any:
        time.sleep(0.4)
        return super().get_request()


def serve() -> int:
    """Load, listen, and end when the worker does."""
    if FAULT == "serve-ignores-sigterm":  # once
        signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, end))
    # On a private network docker itself answers for names; on the common one whoever answers this machine.
    if FAULT == "needs-network" and "127.0.0.11" in Path("/etc/resolv.conf").read_text():
        print("there is no way out", flush=True)
        return 1
    if FAULT == "never-healthy":
        print("it is broken", flush=True)
        return 1
    if FAULT != "early-ping":
        load()
    told = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    port = 8080 if FAULT == "fixed-port" else int(told)
    host = "127.0.0.1" if FAULT == "on-loopback" else ""
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pause()
    server = (SlowServer if FAULT == "slow-connections" else Server)((host, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if FAULT == "early-ping":
        time.sleep(2)
        load()
    os.waitpid(worker, 0)
    Handler.dead.set()
    if FAULT == "ping-when-dead":
        signal.pause()
    return 0 if FAULT == "dies-with-0" else 1


def load() -> None:
    """Have the model, or end."""
    if not Handler.many and not any((ML / "model").iterdir()):
        print("there is no model", flush=True)
        os._exit(1)
    Handler.loaded.set()


def end(*_: object) -> None:
    """Be gone."""
    os._exit(0)


def main() -> int:
    """Do what the word says."""
    signal.signal(signal.SIGTERM, end)
    if FAULT == "root-only" and os.getuid() != 0:
        print("only root may", flush=True)
        return 1
    word = sys.argv[1] if sys.argv[1:] else ""
    if FAULT == "silent":
        signal.pause()
    if FAULT == "serves-always":
        return serve()
    if word in {"train", "serve"} and word not in os.environ.get("UNKNOWN", "").split(","):
        return train() if word == "train" else serve()
    print(f"unknown word {word!r}", flush=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
