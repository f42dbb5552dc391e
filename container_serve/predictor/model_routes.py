"""The routes by which the platform loads, lists and unloads the models of a multi-model endpoint.

Called by `predictor.many_models`. nginx passes them on to a socket in the private folder. The contract:
https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

import json
import re
import socketserver
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from predictor.catalogue import Catalogue, LoadedModel, RefusedError
from predictor.front import models_socket

_LARGEST_PAGE = 100


class ModelRoutes(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers in threads of its own, until the process ends."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, private_folder: Path, catalogue: Catalogue) -> None:
        """Listen, and begin to answer."""
        self.catalogue = catalogue
        super().__init__(str(models_socket(private_folder)), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: ModelRoutes
    wbufsize = -1  # one packet an answer: nginx closes once it has seen a status that it answers by itself

    def do_GET(self) -> None:
        self._answer(self._one if self._name() else self._page)

    def do_POST(self) -> None:
        self._answer(_refuse_method if self._name() else self._load)

    def do_DELETE(self) -> None:
        self._answer(self._unload if self._name() else _refuse_method)

    def log_message(self, *_: object) -> None:
        """Nothing: nginx logs the requests."""

    def _answer(self, act: Callable[[], dict[str, Any]]) -> None:
        status = 200
        try:
            content = act()
        except RefusedError as refusal:
            status, content = refusal.status, {"error": {"code": refusal.code, "message": str(refusal)}}
        except Exception:  # noqa: BLE001 - the last resort: nginx answers 500, the log gets the traceback
            traceback.print_exc()
            status, content = 500, {}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _name(self) -> str:
        """What follows `/models/`; nginx has seen that it is a plain name."""
        return urlsplit(self.path).path.removeprefix("/models").removeprefix("/")

    def _one(self) -> dict[str, Any]:
        return _described(self.server.catalogue.get(self._name()))

    def _unload(self) -> dict[str, Any]:
        return _described(self.server.catalogue.unload(self._name()))

    def _load(self) -> dict[str, Any]:
        try:
            content = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "bad_request", "the body is not JSON") from error
        name, url = (_text(content, key) for key in ("model_name", "url"))
        return _described(self.server.catalogue.load(name, url))

    def _page(self) -> dict[str, Any]:
        """One page of the list; the token of the next is the last name of this one."""
        query = parse_qs(urlsplit(self.path).query)
        limit = query.get("limit", [str(_LARGEST_PAGE)])[-1]
        if not re.fullmatch("[1-9][0-9]{0,8}", limit):
            raise RefusedError(400, "bad_request", "limit must be a whole number from 1")
        models, more = self.server.catalogue.page(
            after=query.get("next_page_token", [""])[-1], limit=min(int(limit), _LARGEST_PAGE)
        )
        page: dict[str, Any] = {"models": [_described(model) for model in models]}
        return page | ({"nextPageToken": models[-1].name} if more else {})


def _refuse_method() -> dict[str, Any]:
    raise RefusedError(405, "method_not_allowed", "")  # nginx says what would be right


def _text(content: object, key: str) -> str:
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, str) or "\0" in value:
        raise RefusedError(400, "bad_request", f"the body must be an object with the text {key}")
    return value


def _described(model: LoadedModel) -> dict[str, Any]:
    return {"modelName": model.name, "modelUrl": model.url}
