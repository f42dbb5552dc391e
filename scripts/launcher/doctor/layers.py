"""Secrets in an image: in its files, layer by layer, so that one deleted later counts; in its settings.

Called by `examined_image`. A secret is named by its kind and its place, and never shown.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from launcher.doctor import secret_kinds

MAX_FILE = 2**20  # bytes; what is larger is data
_BLOCK = 2**20
# What packages of Python bring for their own tests: keys that everybody has.
_PUBLISHED = re.compile(r"/(site|dist)-packages/(.*/)?tests?/|/python3[^/]*/test/")
# Files of settings, whose names say that what is in them is in use; beside .env lie examples of it.
_SETTINGS = re.compile(
    r"/(\.env(\.(?!example|sample|template|dist)\w+)?|pip\.conf|\.pypirc|\.npmrc|\.git-credentials|\.git/config"
    r"|\.condarc|\.s3cfg|\.boto)$"
)
_NETRC = re.compile(r"/[._]netrc$")
_NETRC_PASSWORD = re.compile(r"\bpassword\s+\S")


def in_settings(config: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what looks like a secret in variables, labels and the commands that the image was built with."""
    variables = dict(each.partition("=")[::2] for each in config.get("Env") or [])
    told = []
    for name, value in variables.items():
        for kind in secret_kinds.kinds_of_value(name, value):
            yield f"{kind} in the variable {name}"
            told.append(f"{name}={value}")
    for name, value in (config.get("Labels") or {}).items():
        for kind in secret_kinds.kinds_in_setting(value):
            yield f"{kind} in the label {name}"
            told.append(value)
    for step in history:
        command = step.get("CreatedBy") or ""
        for each in told:
            command = command.replace(each, "")
        yield from secret_kinds.told_in(command, "the build's history")


def in_files(image: Any) -> Iterator[str]:
    """Yield what looks like a secret in the files of an image's layers."""
    stream = io.BufferedReader(_Pieces(image.save(chunk_size=_BLOCK)), _BLOCK)
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as archive:
        number = 0
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            # A layer's name, as `docker save` has had it and as OCI's layout has it.
            if content and re.search(r"layer\.tar$|^blobs/", member.name):
                try:
                    layer = tarfile.open(fileobj=content, mode="r|*", bufsize=_BLOCK)  # noqa: SIM115 - `_in_layer` closes it
                except tarfile.ReadError:
                    continue  # of OCI's blobs some are JSON
                number += 1
                yield from (f"{each} (layer {number})" for each in _in_layer(layer))


def _in_layer(layer: tarfile.TarFile) -> Iterator[str]:
    with layer, suppress(tarfile.ReadError):  # what of it can be read
        for member in layer:
            if not member.isreg() or member.size > MAX_FILE or _PUBLISHED.search(f"/{member.name}"):
                continue
            file = layer.extractfile(member)
            yield from _in_file(f"/{member.name}", file.read() if file else b"")


def _in_file(path: str, content: bytes) -> Iterator[str]:
    if _SETTINGS.search(path):
        yield from secret_kinds.told_in(content.decode(errors="replace"), path)
        return
    yield from (f"{kind} in {path}" for kind in secret_kinds.kinds_in(content))
    if _NETRC.search(path) and _NETRC_PASSWORD.search(content.decode(errors="replace")):
        yield f"a password in {path}"


class _Pieces(io.RawIOBase):
    """What the engine sends, as a file to read from."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Give what has come, up to the buffer's size; 0 at the end."""
        self._rest = self._rest or next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
