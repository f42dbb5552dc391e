"""Fetch one file over HTTP: soon failing, resumable, checked, atomic.

Called by `trainer.weights` where the weights are neither in a channel nor in the image.
"""

import fcntl
import hashlib
import os
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tqdm import tqdm

from trainer.failures import WeightsError

_CHUNK = 1 << 20


def download(url: str, target: Path, *, sha256_prefix: str, patience: float = 15.0) -> Path:
    """Fetch `url` to `target` unless it is there; a broken-off download goes on where it stopped.

    Of several processes that want the file one fetches it, and the others wait for it.
    `patience` is in seconds, for the first answer and for each later read: name look-up and
    connecting together, since a network without a way out often drops packets instead of refusing.
    Raises `WeightsError` for no answer, an HTTP error or a wrong SHA-256.
    """
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(target.parent):
        return target if target.is_file() else _fetch_checked(url, target, sha256_prefix, patience)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process downloads into the folder; a killed one leaves no lock behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fetch_checked(url: str, target: Path, sha256_prefix: str, patience: float) -> Path:
    partial = target.with_name(target.name + ".part")
    try:
        _fetch(url, partial, patience)
    except (OSError, HTTPException) as error:
        raise WeightsError(f"could not download {url}: {_reason(error)}") from error
    digest = file_sha256(partial)
    if not digest.startswith(sha256_prefix):
        partial.unlink()
        raise WeightsError(f"{url} has SHA-256 {digest[:16]}…, expected {sha256_prefix}…: not used")
    return partial.rename(target)


def file_sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch(url: str, partial: Path, patience: float) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    try:
        answered = _answer(url, start, patience)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing lies beyond the part that is here
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return  # a process was killed between the last byte and the new name
        partial.unlink()
        answered = _answer(url, 0, patience)
        start = 0
    with answered as answer:
        resumed = answer.status == 206
        total = int(answer.headers.get("Content-Length", 0)) + (start if resumed else 0)
        progress = tqdm(
            total=total or None,
            initial=start if resumed else 0,
            unit="B",
            unit_scale=True,
            desc=partial.stem,
            disable=None,
        )
        with progress, partial.open("ab" if resumed else "wb") as stream:
            while chunk := answer.read(_CHUNK):
                stream.write(chunk)
                progress.update(len(chunk))
    if total and partial.stat().st_size < total:
        raise OSError(f"broke off after {partial.stat().st_size} of {total} bytes; run again to resume")


def _answer(url: str, start: int, patience: float) -> HTTPResponse:
    """The response to the request, its first line received within `patience` in all."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    outcome: queue.Queue[HTTPResponse | Exception] = queue.Queue()

    def ask() -> None:
        try:
            outcome.put(urllib.request.urlopen(request, timeout=patience))  # noqa: S310 - registry's own URLs
        except Exception as error:  # noqa: BLE001 - handed to the waiting thread
            outcome.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = outcome.get(timeout=patience)
    except queue.Empty:
        raise TimeoutError(f"no answer within {patience:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error)
