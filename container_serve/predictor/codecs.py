"""The request's content types and errors, exactly as `docs/http.md` says.

Called by `inference.py` through `predictor.transformer`. A content type is added here and nowhere else.
"""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.npy import NpyError, read_npy

MAX_PICTURES = 64
# Of a normalised image, whose values are a few units from 0; larger ones overflow inside the network.
_LARGEST_VALUE = 10_000
JSON = "application/json"
JSON_LINES = "application/jsonlines"
NPY = "application/x-npy"
_PICTURES = (
    *("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff"),
    "application/x-image",
)

# One picture of a request: a file's content, a normalised float32 array (3, S, S), or uint8 pixels (S, S, 3).
Item = bytes | bytearray | NDArray[np.float32] | NDArray[np.uint8]


class RequestError(Exception):
    """A request that cannot be answered; the message is meant for the client."""

    status = 400
    code = "bad_request"


class NotAcceptableError(RequestError):
    """`Accept` offers nothing that this server can write."""

    status = 406
    code = "not_acceptable"


class TooLargeError(RequestError):
    """Too many pictures, or too large a picture."""

    status = 422  # 413 is the front server's, for a body of too many bytes
    code = "too_large"


class UnsupportedMediaTypeError(RequestError):
    """The request's `Content-Type` is none that this server reads."""

    status = 415
    code = "unsupported_media_type"


def error_body(code: str, message: str) -> bytes:
    """The body of every error answer."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


def decode_request(body: bytes | bytearray, content_type: str | None) -> list[Item | RequestError]:
    """The pictures of a request, 1 to `MAX_PICTURES`, not yet decoded; for one that cannot be read, why.

    Raises `RequestError`, or the subclass that carries the status, for a body that cannot be read, and for
    the only picture of a request.
    """
    media_type = (content_type or "").split(";")[0].strip().lower()
    if media_type not in _DECODERS:
        offered = ", ".join(_DECODERS)
        raise UnsupportedMediaTypeError(f"the Content-Type must be one of {offered}")
    if not body:
        raise RequestError("the body is empty")
    items = [_in_range(index, item) for index, item in enumerate(_DECODERS[media_type](body))]
    raise_only(items)
    return items


def raise_only(items: Sequence[object]) -> None:
    """Raise the error of a request's only picture: then it is the request's."""
    if len(items) == 1 and isinstance(items[0], RequestError):
        raise items[0]


def _in_range(index: int, item: Item | RequestError) -> Item | RequestError:
    """The item, or why not: NaN is in no range either."""
    if isinstance(item, np.ndarray) and item.size:
        lowest, highest = item.min(), item.max()
        if not (lowest >= -_LARGEST_VALUE and highest <= _LARGEST_VALUE):
            return RequestError(
                f"picture {index} holds a value that is not a finite number within ±{_LARGEST_VALUE:,}"
            )
    return item


def _decode_picture(body: bytes | bytearray) -> list[Item | RequestError]:
    return [body]


def _decode_sniffed(body: bytes | bytearray) -> list[Item | RequestError]:
    return _decode_npy(body) if body.startswith(b"\x93NUMPY") else _decode_picture(body)


def _decode_npy(body: bytes | bytearray) -> list[Item | RequestError]:
    try:
        array = read_npy(body)
    except NpyError as error:
        raise RequestError(str(error)) from error
    if array.ndim != 4:
        raise RequestError("the array must have the shape (N, 3, S, S), or (N, S, S, 3) in uint8")
    _check_count(len(array))
    return list(array)


def _decode_json(body: bytes | bytearray) -> list[Item | RequestError]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON in UTF-8") from error
    instances = request.get("instances") if isinstance(request, dict) else request
    if not isinstance(instances, list):
        raise RequestError('the body must be {"instances": [...]} or the list alone')
    _check_count(len(instances))
    return [_read_instance(index, instance) for index, instance in enumerate(instances)]


def _decode_lines(body: bytes | bytearray) -> list[Item | RequestError]:
    _check_count(body.rstrip().count(b"\n") + 1)
    return [_read_line(index, line) for index, line in enumerate(bytes(body).rstrip().split(b"\n"))]


def _read_line(index: int, line: bytes | bytearray) -> Item | RequestError:
    try:
        return _read_instance(index, json.loads(line))
    except (ValueError, RecursionError):
        return RequestError(f"line {index + 1} of the body is not JSON in UTF-8")


def _read_instance(index: int, instance: Any) -> Item | RequestError:
    try:
        return _decode_instance(index, instance)
    except RequestError as error:
        return error


def _check_count(count: int) -> None:
    if count == 0:
        raise RequestError("the request holds no picture")
    if count > MAX_PICTURES:
        raise TooLargeError(f"the request holds {count} pictures; at most {MAX_PICTURES} are accepted")


def _decode_instance(index: int, instance: Any) -> Item:
    if isinstance(instance, dict):
        return _decode_base64(index, instance)
    if not isinstance(instance, list):
        raise RequestError(f'instances[{index}] must be {{"b64": "..."}} or a nested list of numbers')
    return _decode_numbers(index, instance)


def _decode_numbers(index: int, instance: list[Any]) -> NDArray[np.float32]:
    # As objects: numpy makes texts of a list that holds one, each as long as the longest. That was 20 GB.
    try:
        array = np.asarray(instance, dtype=object)
    except ValueError as error:
        raise RequestError(f"instances[{index}] has rows of different lengths") from error
    if array.ndim != 3 or not set(map(type, array.flat)) <= {int, float}:
        raise RequestError(f"instances[{index}] must be a nested list of numbers of shape (3, S, S)")
    try:
        with np.errstate(over="ignore"):  # what overflows float32 is refused as not finite
            return array.astype(np.float32)
    except OverflowError as error:
        raise RequestError(f"instances[{index}] holds a number that is too large") from error


def _decode_base64(index: int, instance: dict[str, Any]) -> bytes:
    encoded = instance.get("b64")
    if set(instance) != {"b64"} or not isinstance(encoded, str):
        raise RequestError(f'instances[{index}] must be {{"b64": "<base64 of a picture file>"}}')
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise RequestError(f"instances[{index}].b64 is not base64") from error


_DECODERS: dict[str, Callable[[bytes | bytearray], list[Item | RequestError]]] = {
    **dict.fromkeys(_PICTURES, _decode_picture),
    "application/octet-stream": _decode_sniffed,
    NPY: _decode_npy,
    JSON: _decode_json,
    JSON_LINES: _decode_lines,
}
