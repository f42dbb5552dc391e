"""The client of the HTTP contract, against a real server that misbehaves in every way the contract allows."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from launcher.endpoint import EndpointClient, NoAnswer
from launcher.errors import SettingsError

TOP = [{"name": "001.Akita", "label": "Akita", "probability": 0.75}]
GOOD = (200, json.dumps({"predictions": [{"top": TOP}]}).encode())
DROP = (0, b"")  # the connection is closed without an answer


class Server(ThreadingHTTPServer):
    """Answers from a script, then well; remembers what it was asked and over how many connections."""

    def __init__(self, script: list[tuple[int, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.asked: list[tuple[str, bytes]] = []
        self.connections: set[int] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.answer(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.headers["Content-Type"], body))
        self.server.connections.add(self.client_address[1])
        status, answer = self.server.script.pop(0) if self.server.script else GOOD
        if (status, answer) == DROP:
            self.close_connection = True
        else:
            self.answer(status, answer)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(*script: tuple[int, bytes]) -> Iterator[tuple[Server, EndpointClient]]:
    server = Server(list(script))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with EndpointClient.connect(f"http://127.0.0.1:{server.server_address[1]}/") as client:
            yield server, client
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.jpg"
    Image.new("RGB", (40, 30), "brown").save(path)
    return path


def test_a_picture_is_sent_as_it_is_and_its_breeds_come_back(picture: Path) -> None:
    with serving() as (server, client):
        [prediction] = client.predict(picture)

    assert prediction.file == str(picture)
    assert [ranked.label for ranked in prediction.top] == ["Akita"]
    assert server.asked == [("image/jpeg", picture.read_bytes())]


@pytest.mark.parametrize(
    ("name", "kind", "media_type"),
    [("a.jpg", "PNG", "image/png"), ("a.png", "JPEG", "image/jpeg"), ("a.webp", "WEBP", "image/png")],
)
def test_a_pictures_media_type_is_told_by_its_content(
    tmp_path: Path, name: str, kind: str, media_type: str
) -> None:
    Image.new("RGB", (40, 30), "brown").save(tmp_path / name, kind)

    with serving() as (server, client):
        client.predict(tmp_path / name)

    assert server.asked[0][0] == media_type


def test_an_array_file_has_an_answer_for_each_of_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "two.npy").write_bytes(b"\x93NUMPY and so on")
    two = json.dumps({"predictions": [{"top": TOP}, {"top": TOP}]}).encode()

    with serving((200, two)) as (server, client):
        predictions = client.predict(tmp_path / "two.npy")

    assert server.asked[0][0] == "application/x-npy"
    assert [prediction.file for prediction in predictions] == [
        f"{tmp_path / 'two.npy'}[0]",
        f"{tmp_path / 'two.npy'}[1]",
    ]


def test_a_bad_picture_of_an_array_file_carries_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "two.npy").write_bytes(b"\x93NUMPY and so on")
    error = {"code": "bad_request", "message": "picture 1 holds a value that is not finite"}
    two = json.dumps({"predictions": [{"top": TOP}, {"error": error}]}).encode()

    with serving((200, two)) as (_, client):
        good, bad = client.predict(tmp_path / "two.npy")

    assert good.top and not good.error
    assert (bad.top, bad.error) == ((), "bad_request: picture 1 holds a value that is not finite")


def test_a_refused_picture_carries_the_servers_reason_and_is_not_sent_again(picture: Path) -> None:
    refusal = json.dumps({"error": {"code": "bad_request", "message": "not a picture"}}).encode()

    with serving((400, refusal)) as (server, client):
        [prediction] = client.predict(picture)

    assert prediction.error == "400 bad_request: not a picture"
    assert len(server.asked) == 1


def test_the_model_servers_own_413_without_a_body_is_a_refusal_too(picture: Path) -> None:
    with serving((413, b"")) as (_, client):
        [prediction] = client.predict(picture)

    assert prediction.error.startswith("413 ")


@pytest.mark.parametrize("trouble", [DROP, (503, b"")], ids=["dropped connection", "full queue"])
def test_a_request_without_an_answer_is_sent_again(picture: Path, trouble: tuple[int, bytes]) -> None:
    with serving(trouble, trouble) as (server, client):
        [prediction] = client.predict(picture)

    assert not prediction.error
    assert len(server.asked) == 3


def test_a_queue_that_stays_full_is_reported_in_the_end(picture: Path) -> None:
    with serving(*[(503, b"")] * 9) as (server, client), pytest.raises(NoAnswer, match="queue is full"):
        client.predict(picture)

    assert len(server.asked) == 4


def test_a_server_error_is_not_taken_for_an_unreadable_picture(picture: Path) -> None:
    error = json.dumps({"error": {"code": "internal", "message": "see the log"}}).encode()

    with serving((500, error)) as (server, client), pytest.raises(NoAnswer, match="500 internal"):
        client.predict(picture)

    assert len(server.asked) == 1


def test_a_missing_file_does_not_stop_the_others_and_the_order_is_kept(picture: Path) -> None:
    files = [picture, picture.with_name("missing.jpg"), picture] * 5

    with serving() as (server, client):
        answers = [reply[0] for reply in client.predict_all(files, clients=3)]

    assert [answer.file for answer in answers] == [str(file) for file in files]
    assert [bool(answer.error) for answer in answers] == [False, True, False] * 5
    assert len(server.asked) == 10
    assert len(server.connections) <= 3


def test_nobody_at_the_url_is_said_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match="make serve"):
        EndpointClient.connect("http://127.0.0.1:9")


def test_a_url_that_is_none_is_said() -> None:
    with pytest.raises(SettingsError, match="no endpoint answers"):
        EndpointClient.connect("127.0.0.1:8080")


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    with serving() as (_, client):
        assert client.predict(picture)[0].top
