"""`scripts/bootstrap.py` on a machine with nothing but Python: uv comes checked and whole, or not at all."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # this folder's fixtures are no module at run time
    from tests.unit.data.conftest import FileServer

SCRIPT = Path(__file__).parents[3] / "scripts" / "bootstrap.py"


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that does not wait between attempts."""
    specification = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "bootstrap", module)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: None)
    return module


def wheel_with(binary: str, version: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"uv-{version}.data/scripts/uv", binary)
        archive.writestr("../escaped", "never unpacked")
    return buffer.getvalue()


def offer(server: FileServer, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a small uv on the server, pin its digest, and return the index's address."""
    content = wheel_with(f"#!/bin/sh\necho uv {bootstrap.VERSION} fake\n", bootstrap.VERSION)
    wheel = bootstrap.Wheel("any_platform", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(bootstrap, "WHEELS", {bootstrap.this_platform(): wheel})
    server.files["/root/files/" + wheel.filename] = content
    page = f'<a href="../../files/{wheel.filename}#sha256=0">{wheel.filename}</a><a href="uv-0.tar.gz">uv</a>'
    server.files["/root/simple/uv/"] = page.encode()
    return f"{server.url}/root/simple/"


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a bare Python: no site-packages, no user settings."""
    return subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, "--folder", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "PIP_INDEX_URL"])
def test_uv_comes_from_the_index_that_the_environment_names(
    bootstrap: ModuleType, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    index = offer(server, bootstrap, monkeypatch)

    bootstrap.bring_uv(tmp_path / "tools", {variable: index})

    assert bootstrap.installed_version(tmp_path / "tools/uv") == bootstrap.VERSION
    assert [path.name for path in tmp_path.rglob("*")] == ["tools", "uv"]


def test_a_second_run_prints_and_asks_nothing(
    bootstrap: ModuleType,
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    index = offer(server, bootstrap, monkeypatch)
    bootstrap.bring_uv(tmp_path, {"UV_DEFAULT_INDEX": index})
    server.asked.clear()
    capsys.readouterr()

    bootstrap.bring_uv(tmp_path, {"UV_DEFAULT_INDEX": index})

    assert server.asked == []
    assert capsys.readouterr() == ("", "")


def test_another_version_is_replaced(
    bootstrap: ModuleType, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.write_executable(tmp_path / "uv", b"#!/bin/sh\necho uv 0.0.1\n")
    bootstrap.bring_uv(tmp_path, {"UV_DEFAULT_INDEX": offer(server, bootstrap, monkeypatch)})
    assert bootstrap.installed_version(tmp_path / "uv") == bootstrap.VERSION


def test_a_busy_server_and_a_cut_connection_are_tried_again(
    bootstrap: ModuleType, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = offer(server, bootstrap, monkeypatch)
    server.statuses, server.cuts = [503, 429], [20]
    bootstrap.bring_uv(tmp_path, {"UV_DEFAULT_INDEX": index})
    assert bootstrap.installed_version(tmp_path / "uv") == bootstrap.VERSION


def test_the_password_of_an_index_is_sent_but_never_shown(
    bootstrap: ModuleType,
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    index = offer(server, bootstrap, monkeypatch).replace("http://", "company=http://jo:s%40cret@")
    bootstrap.bring_uv(tmp_path, {"UV_DEFAULT_INDEX": index})
    assert set(server.logins) == {"Basic " + base64.b64encode(b"jo:s@cret").decode()}
    assert "cret" not in "".join(capsys.readouterr())


def test_a_wheel_with_another_digest_is_not_installed(
    bootstrap: ModuleType, server: FileServer, tmp_path: Path
) -> None:
    wheel = bootstrap.wheel_for(bootstrap.this_platform())
    server.files["/simple/uv/"] = f'<a href="/{wheel.filename}">uv</a>'.encode()
    server.files[f"/{wheel.filename}"] = wheel_with("#!/bin/sh\necho harm\n", bootstrap.VERSION)

    answer = run(tmp_path, UV_DEFAULT_INDEX="", PIP_INDEX_URL=f"{server.url}/simple")

    assert answer.returncode == 1
    assert f"not the pinned {wheel.sha256}: not installed" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_index_without_that_version_is_named(server: FileServer, tmp_path: Path) -> None:
    server.files["/simple/uv/"] = b'<a href="uv-0.1.0-py3-none-any.whl">uv</a>'
    answer = run(tmp_path, UV_DEFAULT_INDEX=f"{server.url}/simple")
    assert answer.returncode == 1
    assert f"{server.url}/simple/uv/ does not offer uv-" in answer.stderr


def test_offline_the_message_says_what_to_do(bootstrap: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(
        bootstrap.BootstrapError, match=r"http://127\.0\.0\.1:9/simple/uv/: .*refused"
    ) as caught:
        bootstrap.bring_uv(tmp_path, {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"})
    assert "make UV=/path/to/uv" in bootstrap.remedy(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_without_a_traceback(
    bootstrap: ModuleType,
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("UV_DEFAULT_INDEX", offer(server, bootstrap, monkeypatch))
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--folder", str(tmp_path / "file" / "tools")])

    assert bootstrap.main() == 1
    assert "Is the folder writable" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("platform", "ending"),
    [
        (("linux", "x86_64", "glibc"), "-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"),
        (("linux", "x86_64", "musl"), "-musllinux_1_1_x86_64.whl"),
        (("linux", "aarch64", "musl"), "musllinux_1_1_aarch64.whl"),
        (("linux", "aarch64", "glibc"), "musllinux_1_1_aarch64.whl"),
        (("darwin", "arm64", ""), "-macosx_11_0_arm64.whl"),
        (("darwin", "x86_64", ""), "-macosx_10_12_x86_64.whl"),
    ],
)
def test_each_platform_has_its_wheel(
    bootstrap: ModuleType, platform: tuple[str, str, str], ending: str
) -> None:
    assert bootstrap.wheel_for(platform).filename.endswith(ending)


def test_a_platform_without_a_wheel_is_named(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.BootstrapError, match="is pinned for plan9 mips"):
        bootstrap.wheel_for(("plan9", "mips", ""))


def test_python_3_8_can_read_it_and_the_standard_library_is_enough() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        + ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
    }
    assert imported <= sys.stdlib_module_names
