"""Talks to multi-model-server: asks it for an answer, and has it take and drop models.

Called by `predictor.supervisor` and `predictor.catalogue`. It listens on two sockets in the supervisor's
private folder, which nobody else can enter.
"""

import base64
import http.client
import socket
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

# A picture of one pixel: what is asked before anybody else may.
_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
_MANAGEMENT_SECONDS = 10.0  # for what takes milliseconds


class ModelServerError(Exception):
    """The model server did not do what it was asked to; the message says what came instead."""


@dataclass(frozen=True)
class ModelServer:
    """The running server, by the folder of its sockets and of its model store."""

    folder: Path
    response_timeout: float  # seconds

    @property
    def inference_socket(self) -> Path:
        """Where it answers."""
        return self.folder / "model-server.sock"

    @property
    def management_socket(self) -> Path:
        """Where it takes models."""
        return self.folder / "management.sock"

    @property
    def store(self) -> Path:
        """Its model store: an empty folder a model.

        The server puts it on the workers' PYTHONPATH and looks there for a manifest that names code, and a
        model is data, not code. The workers learn the real folder from `predictor.readiness`.
        """
        return self.folder / "store"

    def takes_models(self) -> bool:
        """Whether it is up and could be given a model."""
        try:
            self._manage("GET", "/models")
        except ModelServerError:
            return False
        return True

    def register(self, model: str, *, workers: int) -> None:
        """Have workers started for `model`; returns at once. Raises `ModelServerError`."""
        (self.store / model).mkdir(exist_ok=True)
        wanted = {"url": model, "model_name": model, "initial_workers": workers, "synchronous": "false"}
        self._manage("POST", f"/models?{urllib.parse.urlencode(wanted)}")

    def unregister(self, model: str) -> None:
        """Have the workers of `model` ended, if there are any. Raises `ModelServerError`."""
        self._manage("DELETE", f"/models/{model}", also=HTTPStatus.NOT_FOUND)

    def ask(self, model: str) -> None:
        """Have one picture answered, all the way through the server. Raises `ModelServerError`."""
        connection = _UnixConnection(self.inference_socket, timeout=self.response_timeout)
        headers = {"Content-Type": "image/png"}
        _exchange(connection, "POST", f"/predictions/{model}", body=_PICTURE, headers=headers)

    def _manage(self, method: str, path: str, *, also: HTTPStatus = HTTPStatus.ACCEPTED) -> None:
        connection = _UnixConnection(self.management_socket, timeout=_MANAGEMENT_SECONDS)
        _exchange(connection, method, path, also=also)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a socket in the file system."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        super().__init__("model", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    also: HTTPStatus | None = None,
) -> None:
    """Ask, and raise `ModelServerError` unless the answer is 200 or the other status that will do."""
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ModelServerError(f"was not answered: {error}") from error
    finally:
        connection.close()
    if answer.status not in {HTTPStatus.OK, also}:
        raise ModelServerError(f"was answered {answer.status}: {said[:1000].decode(errors='replace')}")
