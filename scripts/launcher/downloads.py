"""Downloads that go on where they stopped, are checked, and appear whole or not at all.

Used for the photographs (`datasets`) and for the ImageNet weights (`weights`). What has arrived is kept in
`<name>.part` beside the destination, with the server's mark of that very version in `<name>.part.json`, so
that a cut connection or a kill costs nothing and two versions of a file are never mixed.
"""

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn

from launcher.errors import WorkFailed
from launcher.folders import require_space

IDENTITY = {"Accept-Encoding": "identity"}  # a length and a range count the file's own bytes
TIMEOUTS = httpx.Timeout(30.0, connect=10.0)  # seconds
PASSING_STATUS = {408, 425, 429}  # and every 5xx: worth another attempt


class DownloadError(WorkFailed):
    """The file could not be had; the message says from where, why and what to do."""


class UnreachableError(DownloadError):
    """The server could not be reached, or refused."""


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is fetched."""

    sha256: str = ""  # the digest or its beginning
    min_bytes: int = 0
    max_bytes: int = 1 << 40

    def check_size(self, size: int, url: str) -> None:
        """Raise DownloadError when a file of that size cannot be the one that is wanted."""
        if not self.min_bytes <= size <= self.max_bytes:
            raise DownloadError(
                f"{url} offers {size:,} bytes where {self.min_bytes:,} to {self.max_bytes:,} are expected: "
                "this is not the file. Is the address right, or does a proxy answer in its place?"
            )

    def check_digest(self, file: Path, url: str) -> None:
        """Raise DownloadError when the file's content is not the expected one."""
        if self.sha256 and not (digest := sha256_of(file)).startswith(self.sha256):
            raise DownloadError(
                f"what came from {url} has SHA-256 {digest}, "
                f"which does not begin with {self.sha256}: thrown away"
            )


ANYTHING = Expected()


class _PassingError(Exception):
    """A failure that another attempt may not meet."""


def sha256_of(file: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def byte_progress() -> Progress:
    """Return a progress display in bytes on stderr, silent when stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), SpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)


def require_answer(url: str, seconds: float) -> None:
    """Raise UnreachableError unless the server gives any answer in that time, its name's look-up included."""
    failures = [f"no answer within {seconds:.0f} s"]

    def ask() -> None:
        try:
            httpx.head(url, timeout=seconds)
            failures.clear()
        except httpx.HTTPError as error:
            failures[:] = [str(error)]

    asking = threading.Thread(target=ask, daemon=True)  # a look-up cannot be cut short otherwise
    asking.start()
    asking.join(seconds)
    if failures:
        raise UnreachableError(f"{url}: {failures[0]}")


class _Part:
    """What has arrived of a file so far, and which version of it that is."""

    def __init__(self, url: str, destination: Path) -> None:
        self.url = url
        self.destination = destination
        self.path = destination.with_name(destination.name + ".part")
        self.note = destination.with_name(destination.name + ".part.json")

    def size(self) -> int:
        """Return the bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def resume_headers(self) -> dict[str, str]:
        """Ask for the rest, on condition that the server still has the same version."""
        if self.size() and self.note.exists():
            note = json.loads(self.note.read_text())
            if note["url"] == self.url and note["version"]:
                return {"Range": f"bytes={self.size()}-", "If-Range": note["version"]}
        return {}

    def begin(self, response: httpx.Response) -> None:
        """Start from nothing, remembering the version."""
        self.path.unlink(missing_ok=True)  # first: a note never describes another version's bytes
        self.note.write_text(json.dumps({"url": self.url, "version": _version(response)}))

    def continues_with(self, response: httpx.Response) -> bool:
        """Tell whether a partial answer is the rest of this very version."""
        match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        version = json.loads(self.note.read_text())["version"]
        return match is not None and int(match[1]) == self.size() and _version(response) == version

    def append(self, response: httpx.Response) -> Iterator[int]:
        """Add what arrives, yielding the size after each chunk."""
        with self.path.open("ab") as file:
            for chunk in response.iter_raw():  # unbuffered: a cut loses nothing
                file.write(chunk)
                yield file.tell()
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Forget everything that has arrived."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self, expected: Expected) -> None:
        """Check the whole file and give it its name; a wrong one is thrown away."""
        try:
            expected.check_size(self.size(), self.url)
            expected.check_digest(self.path, self.url)
        except DownloadError:
            self.discard()
            raise
        self.path.replace(self.destination)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    destination: Path,
    *,
    expected: Expected = ANYTHING,
    space_factor: float = 1.0,
    attempts: int = 5,
    pause_seconds: float = 1.0,
) -> None:
    """Fetch a URL into a file, going on from where an earlier attempt or run stopped.

    `space_factor` is how many times the file's size must be free on the disk (2 when it will be unpacked).
    `attempts` counts attempts in a row that bring nothing new; the pause doubles after each.
    Raises UnreachableError, DownloadError or folders.SpaceError.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url} is not an http(s) address")
    part = _Part(url, destination)
    furthest, fruitless = part.size(), 0
    with byte_progress() as progress, httpx.Client(timeout=TIMEOUTS, follow_redirects=True) as client:
        task = progress.add_task(destination.name, total=None)

        def report(arrived: int, total: int | None) -> None:
            progress.update(task, completed=arrived, total=total)

        while True:
            try:
                _receive(client, part, expected, space_factor, report)
                break
            except _PassingError as error:
                fruitless = 0 if part.size() > furthest else fruitless + 1
                furthest = max(furthest, part.size())
                if fruitless >= attempts:
                    kept = f"; {furthest:,} bytes are kept for the next run" if part.size() else ""
                    raise UnreachableError(f"{url}: {error}{kept}") from error
            time.sleep(pause_seconds * 2 ** (fruitless - 1))
    part.finish(expected)


def _receive(
    client: httpx.Client,
    part: _Part,
    expected: Expected,
    space_factor: float,
    report: Callable[[int, int | None], None],
) -> None:
    """Make one attempt to get the rest of the file; raise _PassingError when another may do better."""
    try:
        with client.stream("GET", part.url, headers=IDENTITY | part.resume_headers()) as response:
            if response.status_code == 416:  # nothing is left to send
                return _check_complete(part, response)
            _check_status(response)
            if response.status_code == 200:
                part.begin(response)
            elif not part.continues_with(response):
                part.discard()
                raise _PassingError("the server did not go on where the last attempt stopped")
            total = _announced_total(response, part.size())
            if total is not None:
                expected.check_size(total, part.url)
                require_space(part.path.parent, int(total * space_factor) - part.size())
            for arrived in part.append(response):
                report(arrived, total)
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UnreachableError(
                f"{part.url}: {error}. Set SSL_CERT_FILE to the bundle that has your company's certificate"
            ) from error
        raise _PassingError(str(error) or type(error).__name__) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreachableError(f"{part.url}: {error}") from error
    except OSError as error:
        raise DownloadError(f"{part.path} cannot be written: {error.strerror}") from error


def _check_status(response: httpx.Response) -> None:
    """Tell an answer with a body from a refusal, and a lasting refusal from a passing one."""
    status = response.status_code
    if status in PASSING_STATUS or status >= 500:
        raise _PassingError(f"the server answered {status} {response.reason_phrase}")
    if status not in (200, 206):
        raise UnreachableError(
            f"{response.url}: the server answered {status} {response.reason_phrase}. Is the address right?"
        )


def _check_complete(part: _Part, response: httpx.Response) -> None:
    """Accept a 416 as the end of a complete file, or start again."""
    if response.headers.get("Content-Range", "") != f"bytes */{part.size()}":
        part.discard()
        raise _PassingError("the server did not go on where the last attempt stopped")


def _version(response: httpx.Response) -> str:
    """Return what identifies the bytes of this version, or "": a weak ETag does not."""
    tag: str = response.headers.get("ETag", "")
    modified: str = response.headers.get("Last-Modified", "")
    return tag if tag.startswith('"') else modified


def _announced_total(response: httpx.Response, arrived: int) -> int | None:
    """Return the whole file's size in bytes, where the server tells it."""
    length = response.headers.get("Content-Length", "")
    return arrived + int(length) if length.isdigit() else None
