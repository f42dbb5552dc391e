"""Reads and writes `.npy` arrays from and to clients, who are not trusted.

Called by `predictor.codecs`. numpy's own reader would unpickle objects if allowed to, and allocates what
a header promises; this one checks the header against the bytes that really came, and copies only what has
another type or byte order than it is used in.
Source of the format: numpy's NEP 1.
"""

import ast
import io
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"
_HEADER_LIMIT = 1024  # characters; an array of four dimensions needs about 80

_TYPES = {"<f4": 4, ">f4": 4, "<f8": 8, ">f8": 8, "|u1": 1}  # bytes a value


class NpyError(Exception):
    """The bytes are not a `.npy` array of a type that is read; the message may be shown to the client."""


def read_npy(content: bytes | bytearray) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Read one float32 or uint8 array of any shape from `content`, as a view of it; float64 becomes float32.

    Clients send float64 who compute with numpy: the SDK's NumpySerializer converts nothing. Raises `NpyError`
    for anything else, before allocating anything.
    """
    header, offset = _header(content)
    shape, dtype = header.get("shape"), header.get("descr")
    if set(header) != {"descr", "fortran_order", "shape"} or not isinstance(header["fortran_order"], bool):
        raise NpyError("the .npy header must hold exactly descr, fortran_order and shape")
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise NpyError("the .npy array must have the type float32, float64 or uint8")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise NpyError("the .npy header's shape must be a tuple of sizes")
    promised, present = _TYPES[dtype] * math.prod(shape), len(content) - offset
    if promised != present:
        raise NpyError(f"the .npy header's shape and type do not fit the {present} bytes of data that came")
    array: NDArray[Any] = np.frombuffer(content, dtype=dtype, offset=offset)
    try:
        array = array.reshape(shape[::-1]).T if header["fortran_order"] else array.reshape(shape)
    except (ValueError, OverflowError) as error:  # too many dimensions, or a huge one next to a 0
        raise NpyError("the .npy header's shape is none that an array can have") from error
    with np.errstate(over="ignore"):  # what overflows float32 is infinite, which `codecs` refuses
        native: NDArray[Any] = array.astype(np.uint8 if dtype == "|u1" else np.float32, copy=False)
    return native


def write_npy(array: NDArray[np.float32]) -> bytes:
    """The bytes of a `.npy` file that holds `array`."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _header(content: bytes | bytearray) -> tuple[dict[str, Any], int]:
    """The header's dictionary, and where the data begin."""
    if bytes(content[:6]) != _MAGIC or len(content) < 12:
        raise NpyError("the body is not a .npy array")
    if content[6] == 1:
        (length,), start = struct.unpack_from("<H", content, 8), 10
    elif content[6] == 2:
        (length,), start = struct.unpack_from("<I", content, 8), 12
    else:
        raise NpyError("the .npy format version must be 1.0 or 2.0")
    if length > _HEADER_LIMIT or start + length > len(content):
        raise NpyError("the .npy header is too long or cut off")
    try:
        header = ast.literal_eval(bytes(content[start : start + length]).decode("ascii").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise NpyError("the .npy header cannot be read") from error
    if not isinstance(header, dict):
        raise NpyError("the .npy header cannot be read")
    return header, start + length
