"""Request and response content types, exactly as `docs/http.md` says.

Called by `inference.py` through `predictor.transformer`. A content type is added here and nowhere else.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.artifact import BreedClass
from predictor.engine import Logits
from predictor.npy import NpyError, read_npy, write_npy
from predictor.ranking import rank

MAX_PICTURES = 64
ANSWERED_CLASSES = 5
JSON = "application/json"
NPY = "application/x-npy"
_PICTURES = ("image/jpeg", "image/png", "application/x-image")
_QUALITY = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)  # `.2` is what Java's own client sends

# One picture of a request: a JPEG or PNG file, or a normalised float32 array (3, S, S).
Item = bytes | bytearray | NDArray[np.float32]


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


def decode_request(body: bytes | bytearray, content_type: str | None) -> list[Item]:
    """The pictures of a request, 1 to `MAX_PICTURES`, not yet decoded from JPEG or PNG.

    Raises `RequestError`, or the subclass that carries the status.
    """
    media_type = (content_type or "").split(";")[0].strip().lower()
    if media_type not in _DECODERS:
        offered = ", ".join(_DECODERS)
        raise UnsupportedMediaTypeError(f"the Content-Type must be one of {offered}")
    if not body:
        raise RequestError("the body is empty")
    items = _DECODERS[media_type](body)
    for item in items:
        if isinstance(item, np.ndarray) and not np.isfinite(item).all():
            raise RequestError("the array holds a value that is not a finite float32 number")
    return items


def _decode_picture(body: bytes | bytearray) -> list[Item]:
    return [body]


def _decode_sniffed(body: bytes | bytearray) -> list[Item]:
    return _decode_npy(body) if body.startswith(b"\x93NUMPY") else _decode_picture(body)


def _decode_npy(body: bytes | bytearray) -> list[Item]:
    try:
        array = read_npy(body)
    except NpyError as error:
        raise RequestError(str(error)) from error
    if array.ndim != 4:
        raise RequestError("the array must have the shape (N, 3, S, S)")
    _check_count(len(array))
    return list(array)


def _decode_json(body: bytes | bytearray) -> list[Item]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON in UTF-8") from error
    instances = request.get("instances") if isinstance(request, dict) else request
    if not isinstance(instances, list):
        raise RequestError('the body must be {"instances": [...]} or the list alone')
    _check_count(len(instances))
    return [_decode_instance(index, instance) for index, instance in enumerate(instances)]


def _decode_lines(body: bytes | bytearray) -> list[Item]:
    _check_count(body.rstrip().count(b"\n") + 1)
    try:
        instances = [json.loads(line) for line in body.rstrip().split(b"\n")]
    except (ValueError, RecursionError) as error:
        raise RequestError("a line of the body is not JSON in UTF-8") from error
    return [_decode_instance(index, instance) for index, instance in enumerate(instances)]


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
    try:
        array = np.asarray(instance)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"instances[{index}] has rows of different lengths") from error
    if array.dtype.kind not in "iuf" or array.ndim != 3:
        raise RequestError(f"instances[{index}] must be a nested list of numbers of shape (3, S, S)")
    with np.errstate(over="ignore"):  # what overflows float32 is refused as not finite
        return array.astype(np.float32)


def _decode_base64(index: int, instance: dict[str, Any]) -> bytes:
    encoded = instance.get("b64")
    if set(instance) != {"b64"} or not isinstance(encoded, str):
        raise RequestError(f'instances[{index}] must be {{"b64": "<base64 of a JPEG or PNG file>"}}')
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise RequestError(f"instances[{index}].b64 is not base64") from error


_DECODERS: dict[str, Callable[[bytes | bytearray], list[Item]]] = {
    **dict.fromkeys(_PICTURES, _decode_picture),
    "application/octet-stream": _decode_sniffed,
    NPY: _decode_npy,
    JSON: _decode_json,
    "application/jsonlines": _decode_lines,
}


def encode_answer(logits: Logits, classes: Sequence[BreedClass], accept: str | None) -> tuple[bytes, str]:
    """The body for logits `(N, classes)` in the best type that `accept` offers, and that type."""
    content_type = negotiate(accept)
    if content_type == NPY:
        return write_npy(logits), NPY
    predictions = [
        {"top": [asdict(guess) for guess in guesses]}
        for guesses in rank(logits, classes, count=ANSWERED_CLASSES)
    ]
    return json.dumps({"predictions": predictions}).encode(), JSON


def negotiate(accept: str | None) -> str:
    """Choose the answer's media type by RFC 9110, section 12.5.1; JSON where the client does not mind.

    Raises `NotAcceptableError` when neither type is offered.
    """
    if accept is None or not accept.strip():
        return JSON
    ranges = [found for text in accept.split(",") if (found := _media_range(text))]
    offers = [(media_type, *_offer(media_type, ranges)) for media_type in (JSON, NPY)]
    media_type, quality, _ = max(offers, key=lambda offer: (offer[1], -offer[2]))
    if quality <= 0:
        raise NotAcceptableError(f"the Accept header must offer {JSON} or {NPY}")
    return media_type


def _media_range(text: str) -> tuple[str, float] | None:
    """A media range and its quality; None for a range whose quality is not a number from 0 to 1."""
    media_type, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            if not _QUALITY.fullmatch(value.strip()) or float(value) > 1:
                return None
            quality = float(value)
    return media_type, quality


def _offer(media_type: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """The quality of the most specific range that covers the type, and the range's place."""
    for pattern in (media_type, media_type.split("/", maxsplit=1)[0] + "/*", "*/*"):
        for place, (offered, quality) in enumerate(ranges):
            if offered == pattern:
                return quality, place
    return 0.0, len(ranges)
