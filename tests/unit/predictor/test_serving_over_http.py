"""The running server, asked as `docs/http.md` says: every content type and every error row."""

import base64
import io
import json
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_server import RunningServer
from tiny_artifact import MEAN, STD

from predictor.images import load_view
from predictor.model import load_model

NPY, JSON = "application/x-npy", "application/json"


def _normalised(pixels: np.ndarray) -> np.ndarray:
    """What a client does that normalises itself."""
    image: np.ndarray = ((pixels.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)
    return image.transpose(2, 0, 1)


def _npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_ping_is_answered(server: RunningServer) -> None:
    assert server.ask(method="GET", path="/ping").status == 200


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "Image/JPEG", "image/jpeg; q=1"])
def test_a_picture_gets_its_five_most_probable_breeds(
    server: RunningServer, jpeg: bytes, content_type: str
) -> None:
    answer = server.ask(jpeg, Content_Type=content_type)
    assert answer.status == 200
    assert answer.headers["content-type"] == JSON
    (prediction,) = answer.json()["predictions"]
    probabilities = [guess["probability"] for guess in prediction["top"]]
    assert len(probabilities) == 5
    assert probabilities == sorted(probabilities, reverse=True)
    assert set(prediction["top"][0]) == {"name", "label", "probability"}


def test_normalised_arrays_go_in_and_raw_logits_come_out(
    server: RunningServer, base_folder: Path, jpeg: bytes
) -> None:
    model = load_model(base_folder / "model", threads=1)
    picture = _normalised(load_view(io.BytesIO(jpeg), model.artifact.preprocessing).pixels)
    batch = np.stack([picture, -picture, picture / 2])
    answer = server.ask(_npy(batch), Content_Type=NPY, Accept=NPY)
    assert answer.status == 200
    assert answer.headers["content-type"] == NPY
    logits = np.load(io.BytesIO(answer.body), allow_pickle=False)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, model.engine.infer(list(batch)), atol=1e-5)


def test_every_way_to_send_a_picture_gives_the_same_answer(
    server: RunningServer, base_folder: Path, jpeg: bytes
) -> None:
    model = load_model(base_folder / "model", threads=1)
    pixels = load_view(io.BytesIO(jpeg), model.artifact.preprocessing).pixels
    picture = _normalised(pixels)
    instances = [{"b64": base64.b64encode(jpeg).decode()}, picture.tolist()]
    by_json = server.ask(
        json.dumps({"instances": instances}).encode(), Content_Type="application/json; charset=utf-8"
    )
    by_file = server.ask(jpeg, Content_Type="image/jpeg").json()["predictions"][0]["top"]
    by_array, by_pixels = (
        server.ask(_npy(array[np.newaxis]), Content_Type=NPY).json()["predictions"][0]["top"]
        for array in (picture, pixels)
    )
    first, second = (prediction["top"] for prediction in by_json.json()["predictions"])
    for other in (first, second, by_array, by_pixels):
        assert [guess["name"] for guess in other] == [guess["name"] for guess in by_file]
        assert other[0]["probability"] == pytest.approx(by_file[0]["probability"], abs=1e-4)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"no picture", "image/jpeg", 400, "bad_request"),
        (b"", "image/jpeg", 400, "bad_request"),
        (b"{", JSON, 400, "bad_request"),
        (b'{"instances": []}', JSON, 400, "bad_request"),
        (b'{"instances": [[[[1]]]]}', JSON, 400, "bad_request"),
        (b'{"instances": [{"b64": "%%%"}]}', JSON, 400, "bad_request"),
        (b"\x93NUMPY", NPY, 400, "bad_request"),
        (_npy(np.array([{}], dtype=object), allow_pickle=True), NPY, 400, "bad_request"),
        (_npy(np.zeros((1, 3, 224, 224), np.int32)), NPY, 400, "bad_request"),
        (_npy(np.zeros((1, 3, 32, 32), np.float32)), NPY, 400, "bad_request"),
        (_npy(np.full((1, 3, 224, 224), np.nan, np.float32)), NPY, 400, "bad_request"),
        (_npy(np.zeros((0, 3, 224, 224), np.float32)), NPY, 400, "bad_request"),
        (_npy(np.zeros((65, 3, 8, 8), np.float32)), NPY, 422, "too_large"),
        (_png(Image.new("1", (10_001, 5_000))), "image/png", 422, "too_large"),
        (b"x", "text/plain", 415, "unsupported_media_type"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"x", "application/octet-stream", 400, "bad_request"),
    ],
)
def test_a_bad_request_gets_its_status_and_a_json_error(
    server: RunningServer, body: bytes, content_type: str, status: int, code: str
) -> None:
    answer = server.ask(body, Content_Type=content_type)
    assert answer.status == status
    assert answer.headers["content-type"] == JSON
    error = answer.json()["error"]
    assert error["code"] == code
    assert set(answer.json()) == {"error"}
    assert error["message"]
    assert "Traceback" not in error["message"]


def test_an_answer_that_the_client_does_not_accept_is_406(server: RunningServer, jpeg: bytes) -> None:
    answer = server.ask(jpeg, Content_Type="image/jpeg", Accept="text/html")
    assert (answer.status, answer.json()["error"]["code"]) == (406, "not_acceptable")


def test_a_request_without_a_content_type_is_415(server: RunningServer) -> None:
    answer = server.ask(b"x")
    assert (answer.status, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_19_megabytes_are_taken_and_21_are_413(server: RunningServer, jpeg: bytes) -> None:
    batch = np.zeros((32, 3, 224, 224), np.float32)  # 19.3 MB
    assert server.ask(_npy(batch), Content_Type=NPY, Accept=NPY).status == 200
    assert server.ask(b"\0" * (21 * 2**20), Content_Type=NPY).status == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        *(
            (method, "/invocations", 405, "method_not_allowed")
            for method in ("GET", "PUT", "DELETE", "OPTIONS")
        ),
        ("POST", "/ping", 405, "method_not_allowed"),
        ("POST", "/execution-parameters", 405, "method_not_allowed"),
        *(
            (method, path, 404, "not_found")
            for method in ("GET", "POST", "OPTIONS")
            for path in (
                "/",
                "/models",
                "/predictions/model",
                "/api-description",
                "/invocations/x",
                "//ping/..",
            )
        ),
    ],
)
def test_only_the_pages_requests_are_let_through(
    server: RunningServer, jpeg: bytes, *, method: str, path: str, status: int, code: str
) -> None:
    answer = server.ask(jpeg, method=method, path=path, Content_Type="image/jpeg")
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


def test_a_query_is_ignored(server: RunningServer, jpeg: bytes) -> None:
    assert server.ask(jpeg, path="/invocations?x=%zz", Content_Type="image/jpeg").status == 200


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_form_is_415(server: RunningServer, content_type: str) -> None:
    answer = server.ask(b"\xff\xfe=%zz", Content_Type=content_type)
    assert (answer.status, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_batch_transform_learns_how_much_to_send(server: RunningServer) -> None:
    answer = server.ask(method="GET", path="/execution-parameters")
    assert answer.json() == {
        "MaxConcurrentTransforms": 2,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 20,
    }


def test_headers_above_16_kib_are_400(server: RunningServer) -> None:
    answer = server.ask(method="GET", path="/ping", X_Long="x" * 20_000)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_request")


def test_what_is_not_http_is_400(server: RunningServer) -> None:
    # Not over-long headers: the server closes while they are still sent, and the client may see only that.
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"garbage\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def _ask_raw(server: RunningServer, request: bytes) -> tuple[int, dict[str, str]]:
    """The status and the error of an answer to bytes that no client library sends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize(
    "request_line_and_more",
    [
        b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n",  # nginx would say 501
        b"GET /ping HTTP/9.9\r\n",  # and 505
        b"POST /invocations HTTP/1.1\r\nContent-Type: image/jpeg\r\nAccept: a\x0bb\r\nContent-Length: 0\r\n",
        b"POST /invocations HTTP/1.1\r\nAccept: " + b"a/b," * 2_000 + b"\r\nContent-Length: 0\r\n",
    ],
    ids=["encoding", "version", "control character", "long header"],
)
def test_a_clients_mistake_in_http_is_400_and_not_the_servers(
    server: RunningServer, request_line_and_more: bytes
) -> None:
    status, error = _ask_raw(server, request_line_and_more + b"Host: test\r\nConnection: close\r\n\r\n")
    assert (status, error["code"]) == (400, "bad_request")


@pytest.mark.parametrize("path", ["/ping?x=%zz", "//ping", "/%70ing", "/x/../ping"])
def test_a_ping_is_a_ping_however_it_is_written(server: RunningServer, path: str) -> None:
    assert server.ask(method="GET", path=path).status == 200


def test_a_ping_with_too_large_a_body_is_413_in_json(server: RunningServer) -> None:
    answer = server.ask(b"\0" * (21 * 2**20), method="GET", path="/ping")
    assert (answer.status, answer.json()["error"]["code"]) == (413, "too_large")


def test_a_header_that_is_not_read_does_not_reach_the_model_server(
    server: RunningServer, jpeg: bytes
) -> None:
    headers = {"X_Odd": "a\x0bb", "Content_Encoding": "gzip", "X_Long": "a" * 10_000}
    assert server.ask(jpeg, Content_Type="image/jpeg", **headers).status == 200


def test_a_path_that_is_not_utf8_leaves_a_line_of_json(server: RunningServer) -> None:
    answer = server.ask(method="GET", path="/%ff%fe")
    (line,) = server.logged(answer)
    assert (json.loads(line)["path"], json.loads(line)["status"]) == ("(not ASCII)", 404)


def test_an_array_of_an_impossible_shape_is_400(server: RunningServer) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {10**30}, 3, 3)}}".encode()
    answer = server.ask(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header, Content_Type=NPY)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_request")


def test_the_server_still_answers_after_all_that(server: RunningServer, jpeg: bytes) -> None:
    assert all(server.ask(jpeg, Content_Type="image/jpeg").status == 200 for _ in range(20))


def test_a_request_is_one_line_of_json_in_the_log_and_a_ping_none(server: RunningServer, jpeg: bytes) -> None:
    server.ask(method="GET", path="/ping")
    answer = server.ask(jpeg, path='/invocations?"', Content_Type="image/jpeg")
    (line,) = server.logged(answer)
    entry = json.loads(line)
    log = server.log.read_text()
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", "/invocations", 200)
    assert entry["bytes_in"] > len(jpeg)
    assert 0 < entry["server_ms"] <= entry["ms"] + 1 < 10_000
    assert '"method":"GET","path":"/ping","status":200' not in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("level", "logged"),
    [("DEBUG", {200, 400, 404}), ("INFO", {400, 404}), ("WARNING", {400, 404}), ("ERROR", set())],
)
def test_log_level_chooses_the_requests_that_are_logged(
    base_folder: Path, level: str, logged: set[int]
) -> None:
    with RunningServer(base_folder, LOG_LEVEL=level, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_until_ready()
        running.ask(method="GET", path="/ping")
        running.ask(b"x", Content_Type="image/jpeg")
        running.ask(path="/x")
    lines = [line for line in running.log.read_text().splitlines() if line.startswith("{")]
    assert {json.loads(line)["status"] for line in lines} == logged


def test_only_the_port_given_is_open_to_the_network(server: RunningServer) -> None:
    listening = {
        connection.laddr
        for process in server.descendants()
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    }
    assert {address.port for address in listening} == {server.port}


def test_in_a_batch_transform_job_a_bad_picture_is_an_answer_and_not_a_failure(
    base_folder: Path, jpeg: bytes
) -> None:
    with RunningServer(base_folder, SAGEMAKER_BATCH="true", SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_until_ready()
        bad = running.ask(b"no picture", Content_Type="application/x-image", Accept="application/jsonlines")
        good = running.ask(jpeg, Content_Type="application/x-image", Accept="application/jsonlines")

    assert (bad.status, good.status) == (200, 200)
    assert bad.json()["error"]["code"] == "bad_request"
    assert len(good.json()["top"]) == 5
