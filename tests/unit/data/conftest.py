"""A file server that behaves as badly as a test asks it to."""

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class FileServer:
    """What the server has, how it misbehaves, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    version: str = '"one"'  # the ETag
    takes_ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which each next answer is cut off
    statuses: list[int] = field(default_factory=list)  # answered first, before any content
    claims_more: int = 0  # bytes that Content-Length has too many
    asked: list[str | None] = field(default_factory=list)  # the Range of each GET
    logins: list[str | None] = field(default_factory=list)  # the Authorization of each GET

    def select(self, handler: BaseHTTPRequestHandler) -> tuple[int, int]:
        """Return the status and the first byte of an answer, as RFC 9110 has it."""
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
        same = handler.headers.get("If-Range") in (None, self.version)
        if not wanted or not self.takes_ranges or not same:
            return 200, 0
        start = int(wanted[1])
        return (206, start) if start < len(self.files[handler.path]) else (416, start)


def handler_of(state: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers.get("Range"))
            state.logins.append(self.headers.get("Authorization"))
            if state.statuses:
                self.send_error(state.statuses.pop(0))
            elif self.path not in state.files:
                self.send_error(404)
            else:
                self.send_content(*state.select(self))

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def send_content(self, status: int, start: int) -> None:
            content = state.files[self.path]
            self.send_response(status)
            self.send_header("ETag", state.version)
            if status == 416:
                self.send_header("Content-Range", f"bytes */{len(content)}")
            elif status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            body = content[start:]
            self.send_header("Content-Length", str(len(body) + state.claims_more))
            self.end_headers()
            with suppress(ConnectionError):  # a client may hang up: some tests kill it
                self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

        def log_message(self, *_arguments: object) -> None:
            """Keep the tests' output clean."""

    return Handler


@pytest.fixture
def server() -> Iterator[FileServer]:
    state = FileServer()
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(state))
    state.url = f"http://127.0.0.1:{running.server_port}"
    threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
    yield state
    running.shutdown()
    running.server_close()
