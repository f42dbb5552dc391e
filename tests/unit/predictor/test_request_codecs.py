"""A request's content types, without a server: what `docs/http.md` promises."""

import base64
import io
import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from predictor.codecs import (
    RequestError,
    TooLargeError,
    UnsupportedMediaTypeError,
    decode_request,
)
from predictor.npy import NpyError, read_npy, write_npy

NPY = "application/x-npy"


def _npy(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def _header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def _shape(text: str, data: bytes = b"") -> bytes:
    return _header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {text}}}", data)


UNUSABLE_SHAPES = (f"(0, {10**30}, 3, 3)", f"(0, {2**63}, 3, 3)", f"(0, {2**62}, 2, 2)", f"({10**900}, 0)")


@given(
    npst.arrays(
        np.float32, npst.array_shapes(min_dims=1, max_dims=4, max_side=5), elements=st.floats(width=32)
    )
)
def test_every_float32_array_that_numpy_writes_is_read(array: np.ndarray) -> None:
    np.testing.assert_array_equal(read_npy(_npy(array)), array)
    np.testing.assert_array_equal(read_npy(_npy(np.asfortranarray(array))), array)
    np.testing.assert_array_equal(read_npy(_npy(array.astype(">f4"))), array)
    np.testing.assert_array_equal(np.load(io.BytesIO(write_npy(array))), array)


@given(
    npst.arrays(
        np.float64, npst.array_shapes(min_dims=1, max_dims=4, max_side=5), elements=st.floats(width=32)
    )
)
def test_a_float64_array_becomes_float32(array: np.ndarray) -> None:
    for stored in (array, np.asfortranarray(array), array.astype(">f8")):
        read = read_npy(_npy(stored))
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, array)


def test_a_float64_array_costs_half_of_its_size_and_no_more() -> None:
    content = _npy(np.zeros((13, 3, 224, 224)))  # 16 MB
    tracemalloc.start()
    read_npy(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.51 * len(content)


def test_format_version_2_is_read() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ones((2, 3), np.float32), version=(2, 0))
    assert read_npy(stream.getvalue()).shape == (2, 3)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("the pickle was opened",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .npy"),
        (b"\x93NUMPY", "not a .npy"),
        (b"PK\x03\x04" + b"\0" * 40, "not a .npy"),
        (_npy(np.array([_Bomb()], dtype=object), allow_pickle=True), "float32"),
        (_npy(np.ones(3, np.int64)), "float32"),
        (_npy(np.ones(3, np.float16)), "float32"),
        (_npy(np.ones(3, np.float32)) + b"\0", "do not fit the 13 bytes of data"),
        (_npy(np.ones(3, np.float32))[:-1], "do not fit the 11 bytes of data"),
        (b"\x93NUMPY\x03\x00" + b"\0" * 40, "version"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 40, "too long"),
        (_header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9,)}"), "cannot be read"),
        (
            _header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4)}", b"\0" * 16),
            "tuple of sizes",
        ),
        (_header("{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}", b"\0" * 4), "tuple of sizes"),
        (_header("{'descr': '<f4', 'fortran_order': False, 'shape': 1}", b"\0" * 4), "tuple of sizes"),
        (_header("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", b"\0" * 4), "exactly"),
        (_header("{'descr': '<f4', 'shape': (1,)}", b"\0" * 4), "exactly"),
        *((_shape(text), "none that an array can have") for text in UNUSABLE_SHAPES),
        (_shape("(" + "1," * 99 + ")", b"\0" * 4), "none that an array can have"),
        (_header("[1]"), "cannot be read"),
        (_header("(" * 900), "cannot be read"),
        (_header("__import__('os').system('true')"), "cannot be read"),
    ],
)
def test_anything_else_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(NpyError, match=message):
        read_npy(content)


def test_a_header_that_promises_terabytes_allocates_nothing() -> None:
    content = _header("{'descr': '<f4', 'fortran_order': False, 'shape': (64, 3, 1000000, 1000000)}")
    tracemalloc.start()
    with pytest.raises(NpyError, match="do not fit"):
        read_npy(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(noise: bytes) -> None:
    with pytest.raises(NpyError):
        read_npy(b"\x93NUMPY\x01\x00" + noise)


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "IMAGE/PNG", "image/jpeg; charset=utf-8", " image/png "]
)
def test_a_picture_is_handed_on_unread(content_type: str) -> None:
    assert decode_request(b"bytes", content_type) == [b"bytes"]


def test_an_array_is_split_into_its_pictures() -> None:
    batch = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    items = decode_request(_npy(batch), NPY)
    np.testing.assert_array_equal(items[1], batch[1])


def test_octet_stream_is_told_by_its_content() -> None:
    batch = np.ones((1, 3, 2, 2), np.float32)
    (array,) = decode_request(_npy(batch), "application/octet-stream")
    np.testing.assert_array_equal(array, batch[0])
    assert decode_request(b"picture", "application/octet-stream") == [b"picture"]


def test_a_bare_json_array_is_a_batch_of_pictures() -> None:
    batch = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    items = decode_request(json.dumps(batch.tolist()).encode(), "application/json")
    np.testing.assert_array_equal(np.stack(items), batch)


def test_jsonlines_holds_an_instance_a_line() -> None:
    file, array = decode_request(b'{"b64": "eA=="}\n[[[1]]]\n', "application/jsonlines")
    assert file == b"x"
    np.testing.assert_array_equal(array, np.array([[[1]]], np.float32))


def test_a_broken_line_among_others_is_that_ones_error() -> None:
    first, broken, empty, last = decode_request(b'{"b64": "eA=="}\n{\n\n[[[1]]]', "application/jsonlines")

    assert first == b"x" and isinstance(last, np.ndarray)
    assert [str(each)[:6] for each in (broken, empty)] == ["line 2", "line 3"]


def test_lines_are_counted_before_they_are_read() -> None:
    with pytest.raises(TooLargeError, match="1000000 pictures") as caught:
        decode_request(b"{\n" * 1_000_000, "application/jsonlines")
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "content_type",
    ["application/jsonlines", "application/json", "application/octet-stream", "application/x-image", NPY],
)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_pictures_or_a_request_error_and_nothing_else(content_type: str, body: bytes) -> None:
    try:
        items = decode_request(body, content_type)
    except RequestError as error:
        assert 400 <= error.status < 500
    else:
        assert {type(each) for each in items} <= {bytes, np.ndarray, RequestError}
        assert any(not isinstance(each, RequestError) for each in items) or len(items) > 1


def test_json_takes_files_and_arrays_in_one_request() -> None:
    body = json.dumps({"instances": [{"b64": base64.b64encode(b"file").decode()}, [[[1, 2.5]]]]}).encode()
    file, array = decode_request(body, "application/json; charset=utf-8")
    assert file == b"file"
    np.testing.assert_array_equal(array, np.array([[[1, 2.5]]], np.float32))


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "image/svg+xml", "json"])
def test_another_content_type_is_unsupported(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="image/jpeg"):
        decode_request(b"x", content_type)


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", NPY, "application/json"])
def test_an_empty_body_is_refused(content_type: str) -> None:
    with pytest.raises(RequestError, match="empty"):
        decode_request(b"", content_type)


@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 1, 3, 2, 2), (12,), ()])
def test_an_array_of_other_dimensions_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"\(N, 3, S, S\)"):
        decode_request(_npy(np.ones(shape, np.float32)), NPY)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, -10_001])
def test_a_value_that_is_not_finite_or_overflows_inside_a_network_is_refused(value: float) -> None:
    batch = np.zeros((2, 3, 2, 2), np.float32)
    batch[1, 2, 1, 1] = value
    good, bad = decode_request(_npy(batch), NPY)
    np.testing.assert_array_equal(good, batch[0])
    assert isinstance(bad, RequestError)
    assert "picture 1 holds a value that is not a finite" in str(bad)
    with pytest.raises(RequestError, match="not a finite"):
        decode_request(_npy(batch[1:]), NPY)


def test_a_float64_value_beyond_float32_is_refused() -> None:
    with pytest.raises(RequestError, match="not a finite"):
        decode_request(_npy(np.full((1, 3, 2, 2), 1e300)), NPY)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"instances": [{"b64": "eA=="}, 7, {"b64": "%"}]}', "application/json"),
        (b'{"b64": "eA=="}\n7\n{"b64": "%"}', "application/jsonlines"),
    ],
)
def test_a_bad_instance_among_others_is_that_ones_error(body: bytes, content_type: str) -> None:
    first, *others = decode_request(body, content_type)
    assert first == b"x"
    assert [str(error)[:12] for error in others] == ["instances[1]", "instances[2]"]
    assert all(isinstance(error, RequestError) for error in others)


@pytest.mark.parametrize(
    "text",
    [
        *('[[["1"]]]', "[[[true]]]", "[[[null]]]", "[[1],[2,3]]", "[1,2]", "[[[1e400]]]", "[[[1e39]]]"),
        *("[[[NaN]]]", "[[[" + "9" * 400 + "]]]", "[[{}]]", "7", '"x"', "[" * 70 + "]" * 70),
        *('{"b64": 1}', '{"b64": "%"}', '{"b64": "é"}', "{}", '{"b64": "", "x": 1}'),
    ],
)
def test_an_instance_that_is_no_picture_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode_request(f'{{"instances": [{text}]}}'.encode(), "application/json")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"instances": {}}', b'{"inputs": []}', b"\xff", b"[" * 200_000, b'{"instances": []}'],
)
def test_json_without_instances_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode_request(body, "application/json")
    assert caught.value.status == 400


def test_65_pictures_are_too_many_and_64_are_not() -> None:
    assert len(decode_request(_npy(np.zeros((64, 3, 1, 1), np.float32)), NPY)) == 64
    with pytest.raises(TooLargeError, match="65 pictures"):
        decode_request(_npy(np.zeros((65, 3, 1, 1), np.float32)), NPY)
    with pytest.raises(TooLargeError, match="65 pictures"):
        decode_request(json.dumps({"instances": [[[[0]]]] * 65}).encode(), "application/json")


def test_a_long_text_among_numbers_costs_no_more_memory_than_it_has() -> None:
    text = '[[["' + "x" * 100_000 + '"' + ", 1" * 20_000 + "]]]"  # as an array of equal texts it is 8 GB
    tracemalloc.start()
    with pytest.raises(RequestError, match="must be a nested list of numbers"):
        decode_request(f'{{"instances": [{text}]}}'.encode(), "application/json")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_number_above_every_float_is_refused() -> None:
    with pytest.raises(RequestError, match="holds a number that is too large"):
        decode_request(f"[[[[{'9' * 400}]]]]".encode(), "application/json")
