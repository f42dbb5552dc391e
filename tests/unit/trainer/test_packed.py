"""Packed strings are what was put in, and small."""

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.packed import PackedBytes, PackedTexts


@given(st.lists(st.binary(max_size=40)), st.slices(20))
def test_they_are_the_sequence_that_was_packed(items: list[bytes], part: slice) -> None:
    packed = PackedBytes(items)

    assert len(packed) == len(items)
    assert list(packed) == items
    assert packed[part] == items[part]
    assert [packed[-place - 1] for place in range(len(items))] == items[::-1]


@pytest.mark.parametrize("kind", [PackedBytes([b"a"]), PackedTexts(["a"])])
@pytest.mark.parametrize("index", [1, -2])
def test_there_is_nothing_beyond_the_end(kind: Sequence[object], index: int) -> None:
    with pytest.raises(IndexError):
        kind[index]


def test_a_name_that_is_no_utf8_comes_back() -> None:
    names = ["plain.jpg", "größe/ü.png", b"\xff\xfe.jpg".decode("utf-8", "surrogateescape"), ""]

    packed = PackedTexts(names)

    assert list(packed) == names
    assert packed[1:3] == names[1:3]


def test_many_short_strings_take_little_more_than_their_bytes() -> None:
    packed = PackedBytes(b"0123456789" for _ in range(100_000))

    assert sys.getsizeof(packed._bytes) + sys.getsizeof(packed._ends) < 100_000 * (10 + 8) * 1.2
