#!/usr/bin/env python3
"""Bring uv into .tools/, so that a machine needs no more than Python and make.

Called by `make setup`, before anything is installed: standard library only, any Python from 3.8, no pip and
no venv needed. Prints nothing when the right version is there already. The wheel comes from the package index
(UV_DEFAULT_INDEX, PIP_INDEX_URL or pypi.org) and has to match the SHA-256 below, whatever the index says.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import io
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import Request, urlopen

VERSION = "0.13.9"
DEFAULT_INDEX = "https://pypi.org/simple"
TOOLS_FOLDER = Path(__file__).resolve().parents[1] / ".tools"
ATTEMPTS = 4
TIMEOUT_SECONDS = 30


class Wheel(NamedTuple):
    """One file of uv's release: the platform part of its name, and its digest as pypi.org lists it."""

    tag: str
    sha256: str

    @property
    def filename(self) -> str:
        """The name under which every index offers it."""
        return f"uv-{VERSION}-py3-none-{self.tag}.whl"


LINUX_AARCH64 = Wheel(
    "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
)
WHEELS = {
    ("linux", "x86_64", "glibc"): Wheel(
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    ("linux", "x86_64", "musl"): Wheel(
        "musllinux_1_1_x86_64", "2c45530751517d6c3bbc69a19473f6effe47cce047bede01ffd8af7ea7b36b25"
    ),
    ("linux", "aarch64", "glibc"): LINUX_AARCH64,
    ("linux", "aarch64", "musl"): LINUX_AARCH64,
    ("darwin", "arm64", ""): Wheel(
        "macosx_11_0_arm64", "66c512266d633bef48384a1f53003f41f2a8e7b36fe6e7fbfd3e0fd52d96fa63"
    ),
    ("darwin", "x86_64", ""): Wheel(
        "macosx_10_12_x86_64", "c16ed11e013557536b3e60065f1b912f6407bd6518e041b961e23ef9e6b4fbf5"
    ),
}


class BootstrapError(Exception):
    """What is wrong and where; `main` adds what to do about it."""


def this_platform() -> tuple[str, str, str]:
    """Return (system, machine, C library) as WHEELS is keyed; macOS has one C library."""
    system = platform.system().lower()
    libc = ("glibc" if platform.libc_ver()[0] == "glibc" else "musl") if system == "linux" else ""
    return system, platform.machine().lower(), libc


def wheel_for(key: tuple[str, str, str]) -> Wheel:
    """Choose the wheel for a platform; raise BootstrapError where uv is not pinned for it."""
    if key not in WHEELS:
        known = ", ".join(" ".join(filter(None, other)) for other in WHEELS)
        raise BootstrapError(f"no uv {VERSION} is pinned for {' '.join(filter(None, key))} (pinned: {known})")
    return WHEELS[key]


def index_url(environment: dict[str, str]) -> str:
    """Return the index's page for uv; UV_DEFAULT_INDEX may have uv's form NAME=URL."""
    chosen = environment.get("UV_DEFAULT_INDEX") or environment.get("PIP_INDEX_URL") or DEFAULT_INDEX
    return re.sub(r"^[\w.-]+=(?=\w+://)", "", chosen.strip()).rstrip("/") + "/uv/"


def without_credentials(url: str) -> str:
    """Return the URL as it may be printed."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def request_for(url: str) -> Request:
    """Turn user:password@ of a company's index into a header, which urllib does not do by itself."""
    headers = {"User-Agent": f"bootstrap-uv/{VERSION}"}
    request = Request(without_credentials(url), headers=headers)  # noqa: S310 -- fetch checks the scheme
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    if userinfo:
        token = base64.b64encode(unquote(userinfo).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def read_once(url: str, show_progress: bool) -> bytes:
    """Read a URL's whole body; raise IncompleteRead when the connection ends before the announced length."""
    with urlopen(request_for(url), timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 -- fetch checks the scheme
        expected = int(response.headers.get("Content-Length") or 0)
        body = bytearray()
        for chunk in iter(lambda: response.read(1 << 18), b""):
            body += chunk
            if show_progress and expected:
                print(f"\r{len(body) / expected:4.0%} of {expected / 1e6:.0f} MB", end="", file=sys.stderr)
        if show_progress and expected:
            print(file=sys.stderr)
    if len(body) < expected:
        raise http.client.IncompleteRead(bytes(body), expected - len(body))
    return bytes(body)


def fetch(url: str, show_progress: bool = False) -> bytes:
    """Read a URL, trying again after what may pass: a lost connection, a busy server."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise BootstrapError(f"{without_credentials(url)} is not an http(s) address")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return read_once(url, show_progress)
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, HTTPError) and error.code < 500 and error.code not in (408, 429)
            if refused or "CERTIFICATE_VERIFY_FAILED" in str(error) or attempt == ATTEMPTS:
                reason = error.reason if isinstance(error, URLError) else error
                status = f"HTTP {error.code} " if isinstance(error, HTTPError) else ""
                raise BootstrapError(f"{without_credentials(url)}: {status}{reason}") from error
            time.sleep(2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


def links(page_url: str, page: str) -> Iterator[str]:
    """Yield the absolute addresses of a simple page's files, with the page's credentials on its own host."""
    here = urlsplit(page_url)
    for href in re.findall(r"""<a\b[^>]*?\bhref\s*=\s*["']([^"']+)["']""", page, re.IGNORECASE):
        link = urlsplit(urldefrag(urljoin(without_credentials(page_url), href.replace("&amp;", "&"))).url)
        if link.netloc == here.netloc.rpartition("@")[2]:
            link = link._replace(netloc=here.netloc)
        yield urlunsplit(link)


def find_wheel(page_url: str, wheel: Wheel) -> str:
    """Return the wheel's address according to the index."""
    page = fetch(page_url).decode("utf-8", errors="replace")
    for link in links(page_url, page):
        if unquote(urlsplit(link).path).endswith("/" + wheel.filename):
            return link
    raise BootstrapError(f"{without_credentials(page_url)} does not offer {wheel.filename}")


def extract_binary(wheel_bytes: bytes) -> bytes:
    """Return the one file that is needed of a wheel whose digest was checked."""
    with zipfile.ZipFile(io.BytesIO(wheel_bytes)) as archive:
        return archive.read(f"uv-{VERSION}.data/scripts/uv")


def write_executable(path: Path, content: bytes) -> None:
    """Write the file under another name and rename it, so that a kill leaves no half of it behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".uv-", dir=str(path.parent))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o755)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def installed_version(binary: Path) -> str:
    """Return the version that the binary reports, or "" when it is absent or does not run here."""
    try:
        answer = subprocess.run([str(binary), "--version"], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    words = answer.stdout.decode(errors="replace").split()
    return words[1] if words[:1] == ["uv"] and len(words) > 1 else ""


def bring_uv(folder: Path, environment: dict[str, str]) -> None:
    """Put uv into the folder unless the right version is there; raise BootstrapError or OSError."""
    binary = folder / "uv"
    if installed_version(binary) == VERSION:
        return
    wheel = wheel_for(this_platform())
    page_url = index_url(environment)
    print(f"Fetching uv {VERSION} from {without_credentials(page_url)}", file=sys.stderr)
    url = find_wheel(page_url, wheel)
    content = fetch(url, show_progress=sys.stderr.isatty())
    digest = hashlib.sha256(content).hexdigest()
    if digest != wheel.sha256:
        raise BootstrapError(
            f"{without_credentials(url)} has SHA-256 {digest}, not the pinned {wheel.sha256}: not installed"
        )
    write_executable(binary, extract_binary(content))
    if installed_version(binary) != VERSION:
        raise BootstrapError(
            f"{binary} was written but does not run here (is the file system mounted noexec?)"
        )


def remedy(error: Exception) -> str:
    """Say what a person can do about a failure."""
    if isinstance(error, OSError):
        return "Is the folder writable, and is there room on the disk?"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            "The server's certificate is not trusted here: install ca-certificates, or set "
            "SSL_CERT_FILE to the bundle that has your company's certificate."
        )
    return (
        f"Offline? Install uv {VERSION} another way and call `make UV=/path/to/uv …`, "
        "or set UV_DEFAULT_INDEX to a package index that can be reached from here."
    )


def main() -> int:
    """Parse, call, explain."""
    parser = argparse.ArgumentParser(description=f"Bring uv {VERSION} into a private folder.")
    parser.add_argument(
        "--folder", type=Path, default=TOOLS_FOLDER, help="where the binary `uv` goes (default: %(default)s)"
    )
    folder = parser.parse_args().folder
    try:
        bring_uv(folder, dict(os.environ))
    except (BootstrapError, OSError) as error:
        print(f"bootstrap: uv could not be installed: {error}\n{remedy(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: interrupted; nothing was installed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
