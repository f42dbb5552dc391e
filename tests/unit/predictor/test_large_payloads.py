"""What asynchronous endpoints may send: a hundred megabytes are answered, a gigabyte is refused."""

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from running_server import RunningServer

LIMIT_MB = 200


@pytest.fixture(scope="module")
def roomy(base_folder: Path) -> Iterator[RunningServer]:
    """A server for large requests, with as much Java heap as on a machine of 2 GB."""
    settings = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": str(LIMIT_MB), "SAGEMAKER_MODEL_SERVER_VMARGS": "-Xmx512m"}
    with RunningServer(base_folder, SAGEMAKER_MODEL_SERVER_WORKERS="1", **settings) as running:
        running.wait_until_ready()
        yield running


def test_a_picture_of_a_hundred_megabytes_is_answered(roomy: RunningServer) -> None:
    side = 5_800
    body = f"P6 {side} {side} 255\n".encode() + bytes(3 * side * side)
    assert len(body) > 100_000_000

    for _ in range(3):
        answer = roomy.ask(body, Content_Type="application/x-image")
        assert (answer.status, set(answer.json())) == (200, {"predictions", "model"})


def test_a_gigabyte_is_refused_before_it_has_come(roomy: RunningServer, jpeg: bytes) -> None:
    head = (
        "POST /invocations HTTP/1.1\r\nHost: test\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {2**30}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", roomy.port), timeout=10) as connection:
        connection.sendall(head.encode() + jpeg)
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert roomy.ask(jpeg, Content_Type="image/jpeg").status == 200


def test_a_gigabyte_that_does_not_say_its_size_is_refused_at_the_limit(
    roomy: RunningServer, jpeg: bytes
) -> None:
    piece = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with socket.create_connection(("127.0.0.1", roomy.port), timeout=30) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: test\r\nContent-Type: image/jpeg\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(LIMIT_MB + 10):
            connection.sendall(piece)
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert roomy.ask(jpeg, Content_Type="image/jpeg").status == 200


def test_the_memory_of_large_requests_is_given_back(roomy: RunningServer, jpeg: bytes) -> None:
    side = 5_800
    body = f"P6 {side} {side} 255\n".encode() + bytes(3 * side * side)
    found = []
    for _ in range(4):
        assert roomy.ask(body, Content_Type="application/x-image").status == 200
        for _ in range(20):
            roomy.ask(jpeg, Content_Type="image/jpeg")
        found.append(roomy.megabytes())
    assert found[-1] < found[0] + 60, found
    array = io.BytesIO()
    np.save(array, np.zeros((65, 224, 224, 3), dtype=np.uint8))
    assert roomy.ask(array.getvalue(), Content_Type="application/x-npy").status == 422
