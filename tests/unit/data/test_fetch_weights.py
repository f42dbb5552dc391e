"""`make weights`: the file is the one that its name promises, or it is not there."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launcher.downloads import DownloadError, UnreachableError
from launcher.weights import RESNET50_URL, expected_of, fetch_weights

if TYPE_CHECKING:  # this folder's fixtures are no module at run time
    from tests.unit.data.conftest import FileServer

SCRIPT = Path(__file__).parents[3] / "scripts" / "fetch_weights.py"
CONTENT = random.Random(2).randbytes(1_000_000)
NAME = f"resnet50-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


def fetch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script as `make weights` does, reaching 127.0.0.1 without a proxy."""
    command = [sys.executable, SCRIPT, *arguments]
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_resnet50s_digest_is_known_from_its_name() -> None:
    assert expected_of(RESNET50_URL).sha256 == "11ad3fa6"


@pytest.mark.parametrize("options", [(), ("--optional",)])
def test_the_weights_arrive_under_their_name(
    server: FileServer, tmp_path: Path, options: tuple[str, ...]
) -> None:
    server.files[f"/{NAME}"] = CONTENT

    answer = fetch("--url", f"{server.url}/{NAME}", "--output", tmp_path, *options)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"{tmp_path / NAME}\n"
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [tmp_path / NAME]


def test_weights_that_are_there_need_no_network(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)

    answer = fetch("--url", f"http://127.0.0.1:9/{NAME}", "--output", tmp_path, "--optional")

    assert answer.returncode == 0
    assert answer.stdout == f"{tmp_path / NAME} (there already)\n"


def test_damaged_weights_are_fetched_again(server: FileServer, tmp_path: Path) -> None:
    server.files[f"/{NAME}"] = CONTENT
    (tmp_path / NAME).write_bytes(CONTENT[:-1])

    fetch_weights(f"{server.url}/{NAME}", tmp_path)

    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("options", [(), ("--optional",)])
def test_weights_with_another_digest_are_an_error_even_when_optional(
    server: FileServer, tmp_path: Path, options: tuple[str, ...]
) -> None:
    server.files[f"/{NAME}"] = b"something else"

    answer = fetch("--url", f"{server.url}/{NAME}", "--output", tmp_path, *options)

    assert answer.returncode == 1
    assert "has SHA-256" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_cut_connection_does_not_show_in_the_result(server: FileServer, tmp_path: Path) -> None:
    server.files[f"/{NAME}"], server.cuts = CONTENT, [300_000, 300_000]
    fetch_weights(f"{server.url}/{NAME}", tmp_path, pause_seconds=0.01)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_optional_weights_that_are_refused_end_well_in_one_line(tmp_path: Path) -> None:
    answer = fetch("--url", f"http://127.0.0.1:9/{NAME}", "--output", tmp_path, "--optional")

    assert answer.returncode == 0
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert line.startswith("ResNet50's weights were not fetched: http://127.0.0.1:9/")


def test_a_silent_server_is_given_up_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/{NAME}"
        started = time.monotonic()
        with pytest.raises(UnreachableError, match=r"timed out|no answer within"):
            fetch_weights(url, tmp_path, patience=0.5)
    assert time.monotonic() - started < 5


def test_a_name_without_a_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="<start of its SHA-256>"):
        fetch_weights("http://127.0.0.1:9/model.pth", tmp_path)
