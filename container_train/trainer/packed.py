"""Many short strings in one piece of memory.

A list of a million paths is a million objects: 150 bytes each, and each one copied into every loader process
that only looks at it, since looking counts references. Used by `trainer.data`.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import overload


class PackedBytes(Sequence[bytes]):
    """Byte strings of any length, as a sequence that cannot be changed."""

    def __init__(self, items: Iterable[bytes]) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])
        for item in items:
            self._bytes += item
            self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """One of them, or several."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # negative from the end, IndexError beyond it
        return bytes(self._bytes[self._ends[place] : self._ends[place + 1]])


class PackedTexts(Sequence[str]):
    """The same for texts, also those that are no UTF-8, as a file's name may be."""

    def __init__(self, items: Iterable[str]) -> None:
        self._packed = PackedBytes(item.encode("utf-8", "surrogateescape") for item in items)

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """One of them, or several."""
        if isinstance(index, slice):
            return [item.decode("utf-8", "surrogateescape") for item in self._packed[index]]
        return self._packed[index].decode("utf-8", "surrogateescape")
