"""An image's layers, file by file, so that a secret in one that was deleted later counts.

Called by `examined_image`.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from launcher.doctor import secret_files

_BLOCK = 2**20


def found_in(image: Any) -> Iterator[str]:
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
            path = f"/{member.name}"
            if member.isreg() and secret_files.is_read(path, member.size):
                file = layer.extractfile(member)
                yield from secret_files.found_in(path, file.read() if file else b"")


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
