"""Secrets in an image: in its files, layer by layer, so that one deleted later counts; in its settings.

Called by `examined_image`. A secret is named by its kind and its place, and never shown.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MAX_FILE = 2**20  # bytes; what is larger is data
_BLOCK = 2**20
# What packages of Python bring for their own tests: keys that everybody has.
_PUBLISHED = re.compile(r"/(site|dist)-packages/(.*/)?tests?/|/python3[^/]*/test/")
_NAMES_A_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE_KEY|ACCESS_KEY|API_KEY|CREDENTIAL")
_ASSIGNMENT = re.compile(r"\b([A-Z][A-Z0-9_]*)=(\S+)")


@dataclass(frozen=True)
class Kind:
    """A kind of secret: what every one of them has in it, and what one looks like."""

    name: str
    has: bytes
    pattern: re.Pattern[bytes]


def _kind(name: str, has: str, pattern: str) -> Kind:
    return Kind(name, has.encode(), re.compile(pattern.encode()))


KINDS = (
    _kind(
        "a private key", "PRIVATE KEY-----", r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=:,\s-]{64}"
    ),
    _kind("an AWS access key", "AKIA", r"(?<![A-Z0-9])AKIA(?![A-Z0-9]*EXAMPLE)[A-Z2-7]{16}(?![A-Z0-9])"),
    _kind("an AWS session's key", "ASIA", r"(?<![A-Z0-9])ASIA(?![A-Z0-9]*EXAMPLE)[A-Z2-7]{16}(?![A-Z0-9])"),
    _kind(
        "an AWS secret key",
        "secret_access_key",
        r"aws_secret_access_key\s*=\s*(?![A-Za-z0-9/+]*EXAMPLE)[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
    ),
    *(
        _kind("a GitHub token", f"gh{each}_", rf"gh{each}_[A-Za-z0-9]{{36}}(?![A-Za-z0-9])")
        for each in "pousr"
    ),
    _kind("a GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9_]{82}"),
    _kind("a GitLab token", "glpat-", r"glpat-[A-Za-z0-9_-]{20}"),
    _kind("a Hugging Face token", "hf_", r"(?<![A-Za-z0-9_])hf_[A-Za-z]{34}(?![A-Za-z0-9])"),
    _kind("a PyPI token", "pypi-AgEI", r"pypi-AgEI[A-Za-z0-9_-]{50,}"),
    _kind("an npm token", "npm_", r"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    _kind("a Slack token", "xox", r"xox[abprs]-[0-9]{10,}-[A-Za-z0-9-]{20,}"),
)


def kinds_in(content: bytes) -> list[str]:
    """Return the kinds of secrets in a text; what is no text has none."""
    if b"\0" in content[:8192]:
        return []
    found = [kind.name for kind in KINDS if kind.has in content and kind.pattern.search(content)]
    return list(dict.fromkeys(found))


def in_settings(config: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what looks like a secret in variables, labels and the commands that the image was built with."""
    variables = dict(each.partition("=")[::2] for each in config.get("Env") or [])
    for name, value in variables.items():
        for kind in _kinds_of_setting(name, value):
            yield f"{kind} in the variable {name}"
    for name, value in (config.get("Labels") or {}).items():
        for kind in kinds_in(value.encode()):
            yield f"{kind} in the label {name}"
    for step in history:
        command = step.get("CreatedBy") or ""
        for name, value in _ASSIGNMENT.findall(command):
            if variables.get(name) != value:  # else it has been told
                yield from (
                    f"{kind} in the build's history, as {name}" for kind in _kinds_of_setting(name, value)
                )


def _kinds_of_setting(name: str, value: str) -> list[str]:
    """A name says as much as a value does, unless it is that of a file's path or of a switch."""
    named = _NAMES_A_SECRET.search(name.upper()) and len(value) >= 8 and not value.startswith(("/", "$"))
    return kinds_in(value.encode()) or (["a value of that name"] if named else [])


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
            for kind in kinds_in(file.read() if file else b""):
                yield f"{kind} in /{member.name}"


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
