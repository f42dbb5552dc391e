"""The page's own server: whom it answers, how much it takes, and what it passes on."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_endpoint import SmallEndpoint

from launcher.endpoint import EndpointClient
from launcher.ui.endpoints import Endpoint, SageMakerEndpoint, UrlEndpoint
from launcher.ui.server import FILES, LIMIT, PageServer

SCRIPT = Path(__file__).parents[3] / "scripts" / "ui.py"
EXPLAIN = {"X-Amzn-SageMaker-Custom-Attributes": "top_k=2,explain=true"}


@contextmanager
def page_of(endpoint: Endpoint) -> Iterator[PageServer]:
    with PageServer(endpoint, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def endpoint() -> Iterator[SmallEndpoint]:
    with SmallEndpoint() as running:
        yield running


@pytest.fixture
def page(endpoint: SmallEndpoint) -> Iterator[PageServer]:
    with EndpointClient.connect(endpoint.url) as client, page_of(UrlEndpoint(client)) as server:
        yield server


def ask(
    page: PageServer, method: str = "POST", path: str = "/predict", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.server_address[1], timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_a_picture_and_its_options_reach_the_endpoint_and_its_answer_comes_back(
    page: PageServer, endpoint: SmallEndpoint
) -> None:
    status, headers, body = ask(page, body=b"a picture", **EXPLAIN)

    [(path, sent, picture)] = endpoint.asked
    assert (path, picture) == ("/invocations", b"a picture")
    assert sent["content-type"] == "application/x-image"
    assert sent["x-amzn-sagemaker-custom-attributes"] == "top_k=2,explain=true"
    assert status == 200
    assert json.loads(body)["predictions"][0]["explanation"]["class"] == "001.Affenpinscher"
    assert headers["server-timing"] == "decode;dur=3.25, infer;dur=40, encode;dur=0.5"


@pytest.mark.parametrize("path", [*FILES, "/about"])
def test_everything_is_sent_with_the_headers_that_keep_a_page_to_itself(page: PageServer, path: str) -> None:
    status, headers, body = ask(page, "GET", path)

    assert status == 200 and body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "Python" not in headers["server"]


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.evil.example", "", "0.0.0.0:8000"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/about"), ("POST", "/predict")])
def test_a_foreign_name_bound_to_this_address_is_not_answered(
    page: PageServer, endpoint: SmallEndpoint, *, method: str, path: str, host: str
) -> None:
    status, _, body = ask(page, method, path, b"a picture", Host=host)

    assert status == 421
    assert json.loads(body)["error"]["code"] == "misdirected"
    assert not endpoint.asked


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_page_cannot_ask_the_endpoint(
    page: PageServer, endpoint: SmallEndpoint, headers: dict[str, str]
) -> None:
    status, _, body = ask(page, body=b"a picture", **headers)

    assert status == 403
    assert json.loads(body)["error"]["code"] == "forbidden"
    assert not endpoint.asked


def test_a_forwarded_port_is_answered(page: PageServer) -> None:
    here = {"Host": "localhost:9000", "Origin": "http://localhost:9000", "Sec-Fetch-Site": "same-origin"}

    assert ask(page, body=b"a picture", **here)[0] == 200


def test_the_largest_picture_is_passed_on_and_a_larger_one_is_not(
    page: PageServer, endpoint: SmallEndpoint
) -> None:
    assert ask(page, body=bytes(LIMIT))[0] == 200
    status, _, body = ask(page, body=bytes(LIMIT + 1))

    assert status == 413
    assert json.loads(body)["error"] == {"code": "too_large", "message": "a picture may have 20 MiB"}
    assert [len(picture) for _, _, picture in endpoint.asked] == [LIMIT]


@pytest.mark.parametrize("length", ["", "-1", "1e3", "9" * 5000])
def test_a_picture_of_unknown_length_is_refused(page: PageServer, length: str) -> None:
    assert ask(page, **{"Content-Length": length})[0] == 411


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/../../ui.py", 404),
        ("GET", "/static/index.html", 404),
        ("GET", "/server.py", 404),
        ("GET", "/predict", 405),
        ("POST", "/", 405),
        ("DELETE", "/", 501),
    ],
)
def test_nothing_else_is_there(page: PageServer, method: str, path: str, status: int) -> None:
    got, headers, body = ask(page, method, path)

    assert got == status
    assert json.loads(body)["error"]["message"]
    assert headers["x-content-type-options"] == "nosniff"


def test_an_endpoint_that_has_gone_is_said_in_words(page: PageServer, endpoint: SmallEndpoint) -> None:
    endpoint.shutdown()
    endpoint.server_close()

    status, _, body = ask(page, body=b"a picture")

    assert status == 502
    assert json.loads(body)["error"]["code"] == "unreachable"
    assert endpoint.url in json.loads(body)["error"]["message"]


@pytest.fixture
def sagemaker(endpoint: SmallEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account whose SageMaker runtime is the endpoint of this test."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", endpoint.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.mark.usefixtures("sagemaker")
def test_an_endpoint_of_sagemaker_is_asked_by_its_name(endpoint: SmallEndpoint) -> None:
    with page_of(SageMakerEndpoint.connect("small", "eu-west-1")) as page:
        status, _, body = ask(page, body=b"a picture", **EXPLAIN)
        about = json.loads(ask(page, "GET", "/about")[2])

    [(path, sent, picture)] = endpoint.asked
    assert (path, picture) == ("/endpoints/small/invocations", b"a picture")
    assert sent["x-amzn-sagemaker-custom-attributes"] == "top_k=2,explain=true"
    assert sent["content-type"] == "application/x-image"
    assert status == 200
    assert "explanation" in json.loads(body)["predictions"][0]
    assert about == {"endpoint": "small on SageMaker, eu-west-1", "limit": LIMIT}


@pytest.mark.usefixtures("sagemaker")
def test_what_the_container_refuses_behind_sagemaker_is_passed_on_as_it_said_it(
    endpoint: SmallEndpoint,
) -> None:
    endpoint.refusal = (422, "too_large", "the picture has too many pixels")

    with page_of(SageMakerEndpoint.connect("small", "eu-west-1")) as page:
        status, _, body = ask(page, body=b"a picture")

    assert status == 422
    assert json.loads(body)["error"]["message"] == "the picture has too many pixels"


@pytest.mark.usefixtures("sagemaker")
def test_an_endpoint_that_sagemaker_does_not_know_is_said(endpoint: SmallEndpoint) -> None:
    with page_of(SageMakerEndpoint.connect("no-such", "eu-west-1")) as page:
        status, _, body = ask(page, body=b"a picture")

    assert status == 502
    assert "not found" in json.loads(body)["error"]["message"]


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, "--no-browser", *arguments],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        | {"AWS_CONFIG_FILE": os.devnull, "USE_SMDEBUG": "0"},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "http://127.0.0.1:9"], "make serve"),
        (["--endpoint-name", "small"], "no AWS region is set"),
        (["--url", "http://127.0.0.1:9", "--endpoint-name", "small"], "not allowed with"),
    ],
    ids=["nobody answers", "no region", "two endpoints"],
)
def test_the_script_says_what_is_missing(arguments: list[str], said: str) -> None:
    done = script(*arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said(endpoint: SmallEndpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = script("--url", endpoint.url, "--port", str(taken.getsockname()[1]))

    assert done.returncode == 2
    assert "is taken: choose another with --port" in done.stderr
