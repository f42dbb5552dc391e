"""The page's own server: its files, and one door through which it reaches the endpoint.

Started by `ui.py`. Other pages of the same browser can reach 127.0.0.1 too, so a request must be addressed to
this machine by name (else a foreign name could be bound to its address: DNS rebinding), and one that asks the
endpoint, which may cost money, must come from this page.
"""

import json
import re
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from launcher.endpoint import ATTRIBUTES, JSON
from launcher.ui.endpoints import Answer, Endpoint

STATIC = Path(__file__).with_name("static")
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/heatmap.js": ("heatmap.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
METHODS = dict.fromkeys([*FILES, "/about"], "GET") | {"/predict": "POST"}
LIMIT = 20 * 2**20  # bytes of a picture: the endpoint's own limit, see docs/http.md
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# Any port: it may be forwarded from another one (`ssh -L`).
_THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.ASCII | re.IGNORECASE)


class PageServer(ThreadingHTTPServer):
    """Serves the page of one endpoint on 127.0.0.1; port 0 takes any that is free."""

    def __init__(self, endpoint: Endpoint, port: int) -> None:
        """Raises OSError when the port is taken."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.endpoint = endpoint

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Refused(Exception):  # noqa: N818 - what happened to the request
    """A request that is not answered, and why."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = Answer.error(status, code, message)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a byte
    server: PageServer

    def do_GET(self) -> None:
        """Send a file of the page, or what it says about its endpoint."""
        self._answer()

    def do_POST(self) -> None:
        """Ask the endpoint."""
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        try:
            self._check(path)
            if path == "/predict":
                answer = self.server.endpoint.ask(self._body(), self.headers.get(ATTRIBUTES, ""))
                self._send(answer.status, JSON, answer.body, **{"Server-Timing": answer.server_timing})
            elif path == "/about":
                about = {"endpoint": self.server.endpoint.name, "limit": LIMIT}
                self._send(HTTPStatus.OK, JSON, json.dumps(about).encode())
            else:
                name, media_type = FILES[path]
                self._send(HTTPStatus.OK, media_type, (STATIC / name).read_bytes())
        except _Refused as refused:
            self.close_connection = True
            self._send(refused.answer.status, JSON, refused.answer.body)
            self._discard()

    def _check(self, path: str) -> None:
        """Raise _Refused unless the request is ours to answer."""
        [host] = self.headers.get_all("Host", [])[:1] or [""]
        if not _THIS_MACHINE.fullmatch(host):
            raise _Refused(
                HTTPStatus.MISDIRECTED_REQUEST, "misdirected", "this server is only known as 127.0.0.1"
            )
        if path not in METHODS:
            raise _Refused(HTTPStatus.NOT_FOUND, "not_found", "there is nothing at this path")
        if self.command != METHODS[path]:
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", f"{METHODS[path]} only")
        # Browsers say where a request comes from; other programs of this person's need not.
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        foreign = origin not in (None, f"http://{host}") or site not in (None, "same-origin")
        if self.command == "POST" and foreign:
            raise _Refused(HTTPStatus.FORBIDDEN, "forbidden", "only the page itself may ask the endpoint")

    def _body(self) -> bytes:
        """Read the picture."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,12}", length, re.ASCII) or "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "length_required", "a picture's length is missing")
        if int(length) > LIMIT:
            raise _Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"a picture may have {LIMIT // 2**20} MiB"
            )
        return self.rfile.read(int(length))

    def _discard(self) -> None:
        """Read what is still being sent: a connection that is closed over it takes our answer with it."""
        length = re.match(r"\d{0,12}", self.headers.get("Content-Length", ""), re.ASCII)
        pending = min(int(length[0] or 0) if length else 0, 2 * LIMIT)
        while pending > 0 and (chunk := self.rfile.read1(min(pending, 2**16))):
            pending -= len(chunk)

    def _send(self, status: int, media_type: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (HEADERS | headers).items():
            if value:
                self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is not HTTP, or another method, in the form of every other error."""
        self.close_connection = True
        reason = message or HTTPStatus(code).phrase
        self._send(code, JSON, Answer.error(code, "bad_request", reason).body)

    def version_string(self) -> str:
        """Name no versions."""
        return "dog-breeds"

    def log_message(self, *arguments: object) -> None:
        """Say nothing: the page shows what went wrong."""
