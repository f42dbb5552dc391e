"""Whether the compressed data of a JPEG file are those of the whole picture, and no others.

libjpeg paints grey over what is missing and skips what is too much, with a warning that Pillow swallows.
Called by `trainer.images` for every JPEG picture.
"""

import re
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from typing import NamedTuple

from PIL import Image

_SPARE = 64  # bytes that may stand between the picture and its end: some cameras leave a few
_LONGEST_ZEROS = bytes(256)  # a thousand bits that correct a coefficient may be zero one after another
_MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
_END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # the same, ten times as fast to search for
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# Noise, without a marker: a decoder that is done skips it, one that is not takes it for the picture.
_NOISE = bytes(number * 73 % 251 for number in range(1024))
_ENOUGH = 16  # bytes of it that make the decoder finish the last block, for which it wants to look ahead

_TOO_SHORT = "damaged: its data end before the picture is complete"
_TOO_LONG = "damaged: its data go on after the picture is complete"
_GAP = "damaged: a part of its data is missing"


class _Scan(NamedTuple):
    """Where the compressed data of a scan are, and what of which colours they hold."""

    start: int
    end: int
    components: bytes
    coefficients: range
    bits_left: int  # that a later scan has to bring
    may_be_zeros: bool  # of many flat blocks


class Delivery(BytesIO):
    """A JPEG file that a decoder gets in pieces, to see with which of them it has the whole picture.

    That must be the piece with the end of the data, which has noise behind it. Of several scans the
    decoder shows nothing before all are read; `flaw` looks at those in another way.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._scans = _find_scans(content)
        self._stops: list[int] = []
        self._stops_reached = 0
        if len(self._scans) == 1:
            start, end, *_ = self._scans[0]
            self._stops = [end - min(_SPARE, (end - start + 1) // 2)]
            if end < len(content):
                self._stops.append(end + _ENOUGH)
                content = content[:end] + _NOISE[:_ENOUGH] + content[end:]
        super().__init__(content)

    def read(self, size: int | None = -1, /) -> bytes:
        """As a file does, but never beyond the end of a piece."""
        place = self.tell()
        self._stops_reached += place in self._stops
        pieces = [stop - place for stop in self._stops if stop > place]
        return super().read(min([size, *pieces]) if size and size > 0 else size)

    def flaw(self, picture: Image.Image) -> str | None:
        """Why the picture that was loaded from here is not the whole one; None if it is."""
        if any(_has_gap(self._content, scan) for scan in self._scans):
            return _GAP
        if len(self._scans) > 1:
            return _flaw_of_scans(self._content, self._scans, picture)
        if self._stops and self._stops_reached == 0:
            return _TOO_LONG
        return _TOO_SHORT if self._stops_reached > 1 else None


def _find_scans(content: bytes) -> list[_Scan]:
    """Every scan of the first picture in a file (ITU T.81, annex B)."""
    scans, found = [], _MARKER.match(content, 2)
    shortest: dict[int, int] = {}
    while found and found[0][-1] != 0xD9:
        place = found.end()
        after = place + int.from_bytes(content[place : place + 2])
        if found[0][-1] == 0xDA and place + 8 <= after <= len(content):
            header = content[place + 3 : after]
            found = _END.search(content, after)
            end = found.start() if found else len(content)
            first, last, bits = header[-3:]
            # Zeros are the shortest code; of flat blocks it means "no difference" or "no more to come".
            codes = [meaning for table, meaning in shortest.items() if (table < 0x10) == (last == 0)]
            may_be_all_zero = not all(codes) if last == 0 else not any(codes)
            flat = first == 0 and (bits >= 0x10 or may_be_all_zero)
            scans.append(_Scan(after, end, header[:-3:2], range(first, last + 1), bits & 15, flat))
        else:
            if found[0][-1] == 0xC4:
                shortest |= _find_shortest_codes(content[place + 2 : after])
            found = _MARKER.match(content, after)
    return scans


def _find_shortest_codes(tables: bytes) -> dict[int, int]:
    """What the code of zeros alone means, for each Huffman table of a segment."""
    shortest = {}
    while len(tables) > 17:
        size = 17 + sum(tables[1:17])
        shortest[tables[0]] = tables[17]
        tables = tables[size:]
    return shortest


def _has_gap(content: bytes, scan: _Scan) -> bool:
    """Restart markers count from 0 to 7, again and again; and only flat blocks are nothing but zeros."""
    restarts = _RESTART.findall(content, scan.start, scan.end)
    if any(marker[1] != 0xD0 + number % 8 for number, marker in enumerate(restarts)):
        return True
    return not scan.may_be_zeros and content.find(_LONGEST_ZEROS, scan.start, scan.end) >= 0


def _flaw_of_scans(content: bytes, scans: Sequence[_Scan], picture: Image.Image) -> str | None:
    """A scan is too short if noise behind it changes the picture; scans lack if bits are still to come."""
    bits_left = {
        (component, coefficient): scan.bits_left
        for scan in scans
        for component in scan.components
        for coefficient in scan.coefficients
    }
    if any(bits_left.values()):
        return _TOO_SHORT
    ends = [0, *(scan.end for scan in scans), len(content)]
    padded = _NOISE.join(content[start:end] for start, end in pairwise(ends))
    with Image.open(BytesIO(padded), formats=["JPEG", "MPO"]) as image:
        return None if image.tobytes() == picture.tobytes() else _TOO_SHORT
