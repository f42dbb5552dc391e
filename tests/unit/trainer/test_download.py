"""Downloads over a real HTTP server: checked, resumed, never left half."""

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainer.download import download
from trainer.failures import WeightsError

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Shop:
    """A server of one file that may break off, and what it was asked for."""

    url: str = ""
    break_after: int | None = None
    knows_ranges: bool = True
    seconds: float = 0.0
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            shop.ranges.append(asked)
            if self.path != "/weights.pth":
                self.send_error(404)
                return
            time.sleep(shop.seconds)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and shop.knows_ranges else 0
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : shop.break_after])

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        shop.url = f"http://127.0.0.1:{server.server_port}/weights.pth"
        yield shop
        server.shutdown()


def test_a_file_is_fetched_once(shop: Shop, tmp_path: Path) -> None:
    for _ in range(2):
        path = download(shop.url, tmp_path / "deep" / "weights.pth", sha256_prefix=DIGEST[:8])

    assert path.read_bytes() == CONTENT
    assert shop.ranges == [None]


def test_a_broken_off_download_goes_on_where_it_stopped(shop: Shop, tmp_path: Path) -> None:
    shop.break_after = 300_000
    with pytest.raises(WeightsError, match=r"broke off after 300000 of 1024000 bytes"):
        download(shop.url, tmp_path / "weights.pth", sha256_prefix=DIGEST[:8])
    assert not (tmp_path / "weights.pth").exists()

    shop.break_after = None
    path = download(shop.url, tmp_path / "weights.pth", sha256_prefix=DIGEST[:8])

    assert shop.ranges == [None, "bytes=300000-"]
    assert path.read_bytes() == CONTENT


def test_another_file_than_the_promised_one_is_not_kept(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="expected 00000000…: not used"):
        download(shop.url, tmp_path / "weights.pth", sha256_prefix="00000000")

    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_resume_sends_the_file_from_its_start(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(b"another beginning")
    shop.knows_ranges = False

    path = download(shop.url, tmp_path / "weights.pth", sha256_prefix=DIGEST)

    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("part", "requests"), [(CONTENT, 1), (CONTENT + b"more", 2)], ids=["whole", "longer"]
)
def test_a_part_that_is_whole_is_kept_and_one_that_is_too_long_is_not(
    part: bytes, requests: int, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "weights.pth.part").write_bytes(part)

    path = download(shop.url, tmp_path / "weights.pth", sha256_prefix=DIGEST)

    assert path.read_bytes() == CONTENT
    assert len(shop.ranges) == requests


def test_a_file_that_is_not_there_is_an_error_that_names_the_address(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"could not download http://.*/missing.pth: HTTP 404"):
        download(shop.url.replace("weights", "missing"), tmp_path / "missing.pth", sha256_prefix="")

    assert list(tmp_path.iterdir()) == []


def test_of_several_processes_one_fetches_and_the_others_wait(shop: Shop, tmp_path: Path) -> None:
    shop.seconds = 1.0
    program = (
        "import sys; from pathlib import Path; from trainer.download import download; "
        "download(sys.argv[1], Path(sys.argv[2]), sha256_prefix=sys.argv[3])"
    )
    command = [sys.executable, "-c", program, shop.url, str(tmp_path / "weights.pth"), DIGEST]

    running = [subprocess.Popen(command) for _ in range(3)]

    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert shop.ranges == [None]
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
