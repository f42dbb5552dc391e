"""An endpoint over real HTTP that answers as it is told: docs/http.md's, or InvokeEndpoint's of SageMaker."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LABELS = ("Affenpinscher", "Nova Scotia duck tolling retriever", "Boxer", "Dingo", "Akita")
SHARES = (0.62, 0.3, 0.0795, 0.0004, 0.0001)
TOP = [
    {"name": f"00{number}.{label}", "label": label, "probability": share}
    for number, (label, share) in enumerate(zip(LABELS, SHARES, strict=True), start=1)
]
# It speaks for the class in one cell of the upper right, and against it everywhere else.
MAP = [[-1.0] * 5 + [6.0, -1.0]] * 2 + [[-1.0] * 7] * 5
Script = dict[str, Any]


class SmallEndpoint(ThreadingHTTPServer):
    """Explains itself unless `explains` is false; answers `refusal` while there is one.

    `delays` are the seconds that the next requests wait, `box` is the part of the picture that it says it
    saw; `asked` has path, headers and body of each request.
    """

    def __init__(self, *, explains: bool = True, box: tuple[float, ...] = (0, 0, 60, 60)) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.explains, self.box, self.delays = explains, list(box), list[float]()
        self.refusal: tuple[int, str, str] | None = None
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, attributes: str) -> tuple[int, Script]:
        """Status and content for a picture."""
        if self.refusal:
            status, code, message = self.refusal
            return status, {"error": {"code": code, "message": message}}
        prediction: Script = {"top": TOP}
        if "explain=true" in attributes:
            if not self.explains:
                return 400, {"error": {"code": "bad_request", "message": "this model cannot explain itself"}}
            prediction["explanation"] = {"class": TOP[0]["name"], "bias": 0.5, "map": MAP, "box": self.box}
        return 200, {"predictions": [prediction], "model": {"version": "abc123def456"}}


class _Handler(BaseHTTPRequestHandler):
    """Keeps no connection open: an endpoint that has ended answers nobody."""

    server: SmallEndpoint

    def do_GET(self) -> None:
        self.send(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if self.server.delays:
            time.sleep(self.server.delays.pop(0))
        attributes = self.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
        status, content = self.server.answer(attributes)
        body = json.dumps(content).encode()
        if self.path == "/invocations":
            self.send(status, body, **{"Server-Timing": "decode;dur=3.25, infer;dur=40, encode;dur=0.5"})
        elif self.path != "/endpoints/small/invocations":
            self.send(
                400, b'{"message": "Endpoint no-such of account 123 not found."}', **_kind("ValidationError")
            )
        elif status == 200:
            self.send(200, body)
        else:  # as the platform wraps what the container refuses
            wrapped = {"Message": "…", "OriginalStatusCode": status, "OriginalMessage": body.decode()}
            self.send(424, json.dumps(wrapped).encode(), **_kind("ModelError"))

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in (
            {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def _kind(name: str) -> dict[str, str]:
    return {"x-amzn-ErrorType": name}
