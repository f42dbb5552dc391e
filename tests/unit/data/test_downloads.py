"""Downloads survive what networks do, and never pass off a wrong file as the right one."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # this folder's fixtures are no module at run time
    from tests.unit.data.conftest import FileServer

from launcher.downloads import DownloadError, Expected, UnreachableError, download
from launcher.folders import SpaceError

CONTENT = random.Random(1).randbytes(3_000_000)
DIGEST = Expected(sha256=hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def fetch(server: FileServer, file: Path, expected: Expected = DIGEST) -> None:
    server.files.setdefault("/file.bin", CONTENT)
    download(f"{server.url}/file.bin", file, expected=expected, pause_seconds=0.01)


def only(file: Path) -> bool:
    """Tell whether the file is there whole and alone."""
    return file.read_bytes() == CONTENT and list(file.parent.iterdir()) == [file]


def test_a_file_arrives_whole(server: FileServer, file: Path) -> None:
    fetch(server, file)
    assert only(file)


def test_a_connection_cut_twice_is_taken_up_where_it_stopped(server: FileServer, file: Path) -> None:
    server.cuts = [1_000_000, 500_000]
    fetch(server, file)
    assert only(file)
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_run_goes_on_where_the_killed_one_stopped(server: FileServer, file: Path) -> None:
    server.files["/file.bin"] = CONTENT
    with pytest.raises(UnreachableError, match="1,000,000 bytes are kept"):
        run_until_cut(server, file)
    server.cuts.clear()
    server.asked.clear()
    fetch(server, file)
    assert only(file)
    assert server.asked == ["bytes=1000000-"]


def run_until_cut(server: FileServer, file: Path) -> None:
    """Download until the first cut, then find the server gone for good."""
    server.cuts = [1_000_000, 0, 0, 0]
    download(f"{server.url}/file.bin", file, expected=DIGEST, attempts=3, pause_seconds=0.01)


def test_a_server_without_ranges_starts_again(server: FileServer, file: Path) -> None:
    server.takes_ranges = False
    server.cuts = [1_000_000, 2_000_000]
    fetch(server, file)
    assert only(file)


def test_two_versions_of_a_file_are_never_mixed(server: FileServer, file: Path) -> None:
    server.files["/file.bin"] = bytes(3_000_000)
    with pytest.raises(UnreachableError):
        run_until_cut(server, file)
    server.files["/file.bin"], server.version, server.cuts = CONTENT, '"two"', []
    fetch(server, file)
    assert only(file)


def test_a_part_from_another_address_is_not_used(server: FileServer, file: Path) -> None:
    server.files["/file.bin"] = CONTENT
    with pytest.raises(UnreachableError):
        run_until_cut(server, file)
    server.cuts, server.files["/mirror.bin"] = [], CONTENT
    server.asked.clear()
    download(f"{server.url}/mirror.bin", file, expected=DIGEST)
    assert only(file)
    assert server.asked == [None]


def test_a_part_that_was_complete_already_is_not_fetched_again(server: FileServer, file: Path) -> None:
    server.files["/file.bin"] = CONTENT
    with pytest.raises(UnreachableError):
        run_until_cut(server, file)
    file.with_name("file.bin.part").write_bytes(CONTENT)
    server.cuts = []
    fetch(server, file)
    assert only(file)
    assert server.asked[-1] == "bytes=3000000-"


def test_a_busy_server_is_asked_again(server: FileServer, file: Path) -> None:
    server.statuses = [503, 429]
    fetch(server, file)
    assert only(file)


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_not_asked_again(server: FileServer, file: Path, status: int) -> None:
    server.statuses = [status] * 2
    with pytest.raises(UnreachableError, match=f"{status}.*Is the address right"):
        fetch(server, file)
    assert len(server.asked) == 1


def test_a_length_larger_than_the_content_does_not_pass(server: FileServer, file: Path) -> None:
    server.claims_more, server.takes_ranges = 1000, False
    with pytest.raises(UnreachableError, match="without sending complete message body"):
        fetch(server, file)
    assert not file.exists()


def test_a_length_smaller_than_the_content_does_not_pass(server: FileServer, file: Path) -> None:
    server.claims_more = -1000
    with pytest.raises(DownloadError, match="has SHA-256"):
        fetch(server, file)
    assert list(file.parent.iterdir()) == []


def test_another_content_is_thrown_away(server: FileServer, file: Path) -> None:
    server.files["/file.bin"] = b"<html>Please log in</html>"
    with pytest.raises(DownloadError, match="thrown away"):
        fetch(server, file)
    assert list(file.parent.iterdir()) == []


def test_an_implausible_size_is_refused_before_anything_is_written(server: FileServer, file: Path) -> None:
    with pytest.raises(DownloadError, match="offers 3,000,000 bytes where 1,000,000,000 to"):
        fetch(server, file, Expected(min_bytes=1_000_000_000, max_bytes=1_300_000_000))
    assert not file.exists()


def test_a_disk_without_room_is_said_before_anything_is_written(server: FileServer, file: Path) -> None:
    server.files["/file.bin"] = CONTENT
    with pytest.raises(SpaceError, match=r"GB free and .* GB are needed"):
        download(f"{server.url}/file.bin", file, space_factor=1e12)
    assert not file.exists()


def test_a_disk_that_fills_up_midway_is_said(server: FileServer, file: Path) -> None:
    server.files["/file.bin"] = CONTENT
    program = (
        "import resource, signal, sys; from pathlib import Path; from launcher.downloads import download\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        f"download('{server.url}/file.bin', Path({str(file)!r}))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "file.bin.part cannot be written: File too large" in answer.stderr
    assert not file.exists()


def test_a_killed_download_leaves_nothing_that_looks_whole(server: FileServer, file: Path) -> None:
    server.files["/file.bin"] = CONTENT
    program = (
        "import os; from pathlib import Path; from launcher import downloads\n"
        "downloads._Part.finish = lambda *_: os.kill(os.getpid(), 9)\n"
        f"downloads.download('{server.url}/file.bin', Path({str(file)!r}))"
    )
    answer = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)
    assert answer.returncode == -9
    assert not file.exists()
    fetch(server, file)
    assert only(file)


def test_only_http_addresses_are_taken(file: Path) -> None:
    with pytest.raises(DownloadError, match="not an http"):
        download("file:///etc/passwd", file)
