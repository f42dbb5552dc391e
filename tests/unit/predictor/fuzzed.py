"""Requests that the server must survive: a function a kind, and each is made again from its number.

Used by `test_fuzzed_requests.py`. What a request is depends on nothing but the seed and its number:
`request(4711).wire` are the bytes that go over the connection.
"""

import base64
import functools
import io
import itertools
import json
import pickle
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tiny_artifact import SIZE

SEED = 6
NPY, JSON, LINES = "application/x-npy", "application/json", "application/jsonlines"
IMAGE_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif",
    "BMP": "image/bmp", "TIFF": "image/tiff", "PPM": "application/x-image",
}  # fmt: skip
CONTENT_TYPES = (*IMAGE_TYPES.values(), "application/octet-stream", NPY, JSON, LINES)


@dataclass(frozen=True)
class Wire:
    """The bytes of one or more requests; `framed`: HTTP says that each of them gets an answer."""

    content: bytes
    framed: bool = True


@dataclass(frozen=True)
class Fuzzed:
    """A request, with what makes it again."""

    number: int
    kind: str
    wire: bytes
    framed: bool


def request(number: int, *, seed: int = SEED) -> Fuzzed:
    """The request of this number."""
    kind = SCHEDULE[number % len(SCHEDULE)]
    wire = kind(random.Random(f"{seed}/{number}"))
    return Fuzzed(number, kind.__name__, wire.content, wire.framed)


def post(body: bytes, content_type: str, **headers: str) -> Wire:
    """A well-framed request to /invocations; header names are given with underscores."""
    return Wire(head("POST", "/invocations", content_type=content_type, **headers) + _sized(body))


def head(method: str, path: str, *, version: str = "HTTP/1.1", **headers: str) -> bytes:
    """A request line and headers; the next header, or the blank line, is still to come."""
    lines = [f"{method} {path} {version}", "Host: test", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def _sized(body: bytes) -> bytes:
    return f"Content-Length: {len(body)}\r\n\r\n".encode() + body


# ─── pictures ────────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def pictures() -> dict[str, bytes]:
    """One picture file of each kind that a format has."""
    rng = np.random.default_rng(SEED)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    colour = coarse.resize((64, 48), Image.Resampling.BICUBIC)
    deep = Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 40
    drawn = {
        "JPEG": [(colour, {"exif": exif}), (colour.convert("L"), {"progressive": True})],
        "PNG": [(colour.convert("RGBA"), {}), (colour.convert("P"), {"transparency": 3}), (deep, {})],
        "WEBP": [(colour, {"exif": exif}), (colour.convert("RGBA"), {"lossless": True})],
        "GIF": [(colour.convert("P"), {}), (colour, {"save_all": True, "append_images": [coarse]})],
        "BMP": [(colour, {}), (colour.convert("P"), {}), (colour.convert("1"), {})],
        "TIFF": [(colour, {}), (deep, {"compression": "tiff_adobe_deflate"})],
        "PPM": [(colour, {}), (deep, {}), (colour.convert("1"), {})],
    }
    drawn["JPEG"].append((colour.convert("CMYK"), {"icc_profile": b"p" * 300}))
    drawn["WEBP"].append((colour, {"save_all": True, "append_images": [colour.rotate(90)]}))
    for compression in ("tiff_lzw", "jpeg", "packbits"):
        drawn["TIFF"].append((colour, {"compression": compression}))
    drawn["TIFF"].append((colour.convert("1"), {"compression": "group4"}))
    return {
        f"{name} {place}": _file(image, name, **options)
        for name, variants in drawn.items()
        for place, (image, options) in enumerate(variants)
    }


def _file(image: Image.Image, name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def _picture(chance: random.Random) -> tuple[str, bytes]:
    """Some picture's content type and content."""
    name, content = chance.choice(list(pictures().items()))
    return IMAGE_TYPES[name.split()[0]], content


def _mutated(content: bytes, chance: random.Random) -> bytes:
    """A few places changed, cut out, doubled, or overwritten with the numbers that go wrong."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4, 16, 64])):
        place, length = chance.randrange(len(changed) or 1), chance.choice([1, 2, 4, 8, 64])
        match chance.randrange(5):
            case 0:
                changed[place : place + 1] = chance.randbytes(1)
            case 1:
                del changed[place : place + length]
            case 2:
                changed[place:place] = changed[place : place + length]
            case 3:
                changed[place : place + length] = chance.choice([b"\xff", b"\0", b"\x7f"]) * length
            case 4:
                changed[place : place + 4] = struct.pack(
                    chance.choice("<>") + "I", chance.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
                )
    return bytes(changed)


def whole_picture(chance: random.Random) -> Wire:
    """Nothing wrong with it."""
    content_type, content = _picture(chance)
    return post(content, content_type)


def truncated_picture(chance: random.Random) -> Wire:
    """Cut off anywhere."""
    content_type, content = _picture(chance)
    return post(content[: chance.randrange(len(content))], content_type)


def mutated_picture(chance: random.Random) -> Wire:
    """Damaged in one place or in many; explained, mirrored, or neither."""
    content_type, content = _picture(chance)
    attributes = chance.choice(["", "explain=true", "tta=true", "explain=true,tta=true"])
    return post(_mutated(content, chance), content_type, X_Amzn_SageMaker_Custom_Attributes=attributes)


def mutated_picture_head(chance: random.Random) -> Wire:
    """Damaged where sizes, types and tables stand."""
    content_type, content = _picture(chance)
    length = chance.choice([16, 32, 64, 128])
    return post(_mutated(content[:length], chance) + content[length:], content_type)


def two_pictures_in_one(chance: random.Random) -> Wire:
    """The beginning of one, and the end of another."""
    content_type, first = _picture(chance)
    _, second = _picture(chance)
    return post(first[: chance.randrange(len(first))] + second[chance.randrange(len(second)) :], content_type)


def wrong_type(chance: random.Random) -> Wire:
    """Anything as anything else."""
    _, content = _picture(chance)
    body = chance.choice([content, chance.randbytes(200), _array(chance), json.dumps([1, "a"]).encode(), b""])
    return post(body, chance.choice(CONTENT_TYPES))


def noise_with_a_signature(chance: random.Random) -> Wire:
    """A format's first bytes, and noise."""
    content_type, content = _picture(chance)
    noise = chance.randbytes(chance.randrange(2000))
    return post(content[: chance.choice([2, 4, 8, 12, 26])] + noise, content_type)


def picture_of_odd_shape(chance: random.Random) -> Wire:
    """A line, a point, or a strip as long as the format allows."""
    long = chance.choice([1, 2, 3, 255, 4096, 16_383, 65_500])
    size = chance.choice([(1, long), (long, 1), (long, 2), (3, long)])
    name = chance.choice(["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"])
    return post(_file(Image.new("L", size), name), IMAGE_TYPES[name])


# ─── bombs ───────────────────────────────────────────────────────────────────────────────────────────


def _png(width: int, height: int, *, depth: int = 8, colour: int = 0, chunks: bytes = b"") -> bytes:
    """A PNG file by hand: its head, some chunks, and hardly any data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + chunks + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff_by_hand(tags: Sequence[tuple[int, int, int]], data: bytes = b"") -> bytes:
    """A TIFF file by hand: tags as (number, type, value), and data at 1,000."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(tags))
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    return content.ljust(1000, b"\0") + data


def bomb_by_its_head(chance: random.Random) -> Wire:
    """A few bytes that promise a huge picture, of every format."""
    side = chance.choice([7_072, 30_000, 65_535, 2**24, 2**31 - 1, 2**32 - 1])
    short = side.to_bytes(4, "big")[-2:]
    jpeg, gif, bmp = bytearray(pictures()["JPEG 0"]), bytearray(pictures()["GIF 0"]), bytearray(54)
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = short * 2
    gif[6:10] = short * 2
    bmp[:54] = struct.pack("<2sIHHIIIIHHIIIIII", b"BM", 2**31, 0, 0, 54, 40, side, side, 1, 24, *[0] * 6)[:54]
    webp = bytearray(pictures()["WEBP 1"])
    webp[21:25] = b"\xff\xff\xff\x0f"  # 16,384 × 16,384
    tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, chance.choice([1, 5, 7, 8])), (262, 3, 1)]
    strips = [(273, 4, 1000), (277, 3, 1), (278, 4, side), (279, 4, 100)]
    tiles = [(322, 4, side), (323, 4, side), (324, 4, 1000), (325, 4, 100)]
    files = {
        "PNG": _png(side, side, depth=chance.choice([1, 8, 16]), colour=chance.choice([0, 2, 6])),
        "JPEG": bytes(jpeg),
        "GIF": bytes(gif),
        "BMP": bytes(bmp),
        "WEBP": bytes(webp),
        "TIFF": tiff_by_hand(tags + chance.choice([strips, tiles]), bytes(100)),
        "PPM": f"P{chance.randrange(1, 7)} {side} {side} 255\n".encode() + bytes(100),
    }
    name = chance.choice(list(files))
    return post(files[name], IMAGE_TYPES[name])


@functools.cache
def _compressed_zeros() -> bytes:
    """Twenty megabytes in twenty kilobytes."""
    return zlib.compress(bytes(20_000_000), 9)


def bomb_beside_the_pixels(chance: random.Random) -> Wire:
    """A small picture with a huge text, profile, tile, canvas or frame."""
    zeros = _compressed_zeros()
    side = chance.choice([60_000, 100_000, 2**31 - 1])
    tags = [(256, 4, 10), (257, 4, 10), (258, 3, 8), (259, 3, chance.choice([1, 5, 7, 8])), (262, 3, 1)]
    tiles = [(277, 3, 1), (322, 4, side), (323, 4, side), (324, 4, 1000), (325, 4, 100)]
    gif = bytearray(pictures()["GIF 0"])
    frame = gif.index(b",", 13 + 3 * 2 ** ((gif[10] & 7) + 1)) + 1
    gif[frame : frame + 8] = struct.pack("<HHHH", *(chance.choice([0, 65_535]) for _ in range(4)))
    files = {
        "image/png": chance.choice(
            [
                _png(8, 8, chunks=_chunk(b"zTXt", b"a\0\0" + zeros)),
                _png(8, 8, chunks=_chunk(b"iCCP", b"a\0\0" + zeros)),
                _png(8, 8, chunks=_chunk(b"iTXt", b"a\0\1\0\0\0" + zeros)),
                _png(8, 8, chunks=_chunk(b"eXIf", chance.randbytes(60_000))),
                _png(8, 8, chunks=_chunk(b"tEXt", b"a\0" + b"b" * 500_000) * 4),
            ]
        ),
        "image/tiff": tiff_by_hand(tags + tiles, zeros),
        "image/gif": bytes(gif),
    }
    content_type = chance.choice(list(files))
    return post(files[content_type], content_type)


@functools.cache
def _largest() -> dict[str, bytes]:
    """Files of a few kilobytes that are pictures of nearly 50 million pixels."""
    large = Image.new("1", (9_990, 5_000))
    return {
        "PNG": _file(large, "PNG"),
        "PNG tall": _file(Image.new("1", (760, 65_535)), "PNG"),
        "TIFF": _file(large, "TIFF", compression="group4"),
        "GIF": _file(large.convert("P"), "GIF"),
    }


def largest_picture(chance: random.Random) -> Wire:
    """As many pixels as are accepted, in a few kilobytes."""
    name = chance.choice(list(_largest()))
    return post(_largest()[name], IMAGE_TYPES[name.split()[0]])


@functools.cache
def jpeg_of_scans(size: tuple[int, int], scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each costs a pass over the picture."""
    content = _file(Image.new("L", size), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * (scans - content.count(b"\xff\xda") + 1) + content[-2:]


def jpeg_of_many_scans(chance: random.Random) -> Wire:
    """What takes a decoder minutes, in a few hundred kilobytes."""
    return post(
        jpeg_of_scans((4_000, 4_000), 1_000), chance.choice(["image/jpeg", "application/octet-stream"])
    )


def damaged_fax(chance: random.Random) -> Wire:
    """A TIFF of noise in a fax's code: libtiff has a line to say about each of its rows."""
    data, rows = chance.randbytes(50_000), 150_000
    tags = [(256, 4, 16), (257, 4, rows), (258, 3, 1), (259, 3, chance.choice([2, 3, 4])), (262, 3, 0)]
    strip = [(273, 4, 1000), (277, 3, 1), (278, 4, rows), (279, 4, len(data))]
    return post(tiff_by_hand(tags + strip, data), "image/tiff")


# ─── arrays ──────────────────────────────────────────────────────────────────────────────────────────


def _array(chance: random.Random, *, pictures: int = 1) -> bytes:
    """A good `.npy` of either type."""
    rng = np.random.default_rng(chance.randrange(2**32))
    if chance.random() < 0.5:
        return _npy(rng.integers(0, 256, (pictures, SIZE, SIZE, 3), dtype=np.uint8))
    return _npy(rng.normal(size=(pictures, 3, SIZE, SIZE)).astype(np.float32))


def _npy(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def _npy_by_hand(header: str | bytes, data: bytes = b"", *, version: bytes = b"\x01\0") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


def mutated_array(chance: random.Random) -> Wire:
    """A good array, damaged in its header or cut off."""
    content = _array(chance)
    body = chance.choice(
        [content[: chance.randrange(len(content))], _mutated(content[:128], chance) + content[128:]]
    )
    return post(body, chance.choice([NPY, "application/octet-stream"]))


class _Touch:
    """What runs a program where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("__import__('os')._exit(66)",)


def pickled_array(chance: random.Random) -> Wire:
    """Code that ends the process which unpickles it, in place of numbers."""
    objects = np.empty((1, 3, 2, 2), dtype=object)
    objects.fill(_Touch())
    bodies = [
        _npy(objects, allow_pickle=True),
        pickle.dumps(_Touch()),
        _npy_by_hand("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps(_Touch())),
    ]
    return post(chance.choice(bodies), chance.choice([NPY, "application/octet-stream"]))


def hostile_array_header(chance: random.Random) -> Wire:
    """Shapes, types and headers that no program writes."""
    huge = chance.choice([2**31, 2**62, 2**63, 10**30, 10**300])
    shape = chance.choice([
        f"({huge},)", f"(0, {huge}, {huge}, 3)", f"(1, 3, {huge}, 0)", "(-1, 3, 224, 224)",
        "(1, -3, -224, 224)", "()", "(1.0, 3)", "(True, 3, 2, 2)", "[1, 3, 2, 2]", "None",
        f"({'1, ' * 70})", f"({'1, ' * 300})", "'a'",
    ])  # fmt: skip
    dtype = chance.choice([
        "'<f4'", "'>f4'", "'|u1'", "'<f8'", "'<f2'", "'|O'", "'<U9'", "'<M8[s]'", "'|V4'", "'f4,f4'", "''",
        "[('a', '<f4'), ('b', '|O')]", "{'names': ['a'], 'formats': ['<f4']}", "4", "None", "'<f4' * 99",
    ])  # fmt: skip
    order = chance.choice(["False", "True", "None", "1", "'a'"])
    header = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}}}"
    header = chance.choice([
        header, header, header, header[:-1] + ", 'more': __import__('os')._exit(66)}", "(" * 900,
        "-" * 900 + "1", "[" * 500 + "]" * 500, header + "\0", "{" + header, "", "{[]: 1}", "{1: 2}",
        "'" + "a" * 900, "0x" + "f" * 900, "1if 1else 2", "'\\d'", "é", "{**{}}", header.replace("'", '"'),
        header.ljust(1024), header.ljust(60_000),
    ])  # fmt: skip
    version = chance.choice([b"\x01\0", b"\x01\0", b"\x02\0", b"\x03\0", b"\0\0", b"\xff\xff"])
    data = bytes(chance.choice([0, 4, 100, 4 * 3 * SIZE * SIZE]))
    return post(_npy_by_hand(header, data, version=version), NPY)


def array_of_extremes(chance: random.Random) -> Wire:
    """Numbers at the ends of float32, in either order of bytes and of axes; answered in any type."""
    values = [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e30, 1e-45, -0.0, 1e4]
    array = np.full((chance.randrange(3), 3, SIZE, SIZE), chance.choice(values), np.float32)
    if array.size and chance.random() < 0.5:
        array[0, :, ::2] = chance.choice(values)
    array = chance.choice([array, np.asfortranarray(array), array.astype(">f4"), array[:, :, ::2]])
    accept = chance.choice([JSON, NPY, LINES, "text/csv", "image/png"])
    attributes = chance.choice(["", "explain=true", "tta=true"])
    return post(_npy(array), NPY, Accept=accept, X_Amzn_SageMaker_Custom_Attributes=attributes)


# ─── JSON ────────────────────────────────────────────────────────────────────────────────────────────


def _instance(chance: random.Random) -> Any:
    """One item of `instances`, good or not."""
    _, content = _picture(chance)
    encoded = base64.b64encode(content).decode()
    place = chance.randrange(len(encoded))
    nested: Any = 0.5
    for _ in range(chance.choice([2, 3, 4, 40, 70])):
        nested = [nested]
    return chance.choice([
        {"b64": encoded}, {"b64": encoded[:place]},
        {"b64": encoded[:place] + chance.choice(["=", "\n", "é", "\ud800", "%%", "\0"]) + encoded[place:]},
        {"b64": chance.choice([None, 1, [], {}, "", "=", True, "A" * 10_001])}, {"b64": encoded, "more": 1},
        {chance.choice(["", "B64", "\ud800", "x" * 5_000]): encoded},
        chance.choice([None, True, 1, -1.5, "", "text", [], {}, [[]], [[[]]], [[[], []], [[], []]]]),
        nested, _numbers(),
        [[[chance.choice([1e38, 1e39, -1e400, 10**400, True, None, "1", [], {}])] * 4] * 4] * 3,
        [[[1, 2], [3]], [[1, 2], [3, 4]]],
    ])  # fmt: skip


@functools.cache
def _numbers() -> list[Any]:
    """A normalised picture as numbers."""
    numbers: list[Any] = np.zeros((3, SIZE, SIZE), int).tolist()
    return numbers


def _instances(chance: random.Random) -> list[Any]:
    return [_instance(chance) for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 8, 64, 65]))]


def odd_instances(chance: random.Random) -> Wire:
    """JSON of the right form with anything in it."""
    instances = _instances(chance)
    body = json.dumps(
        chance.choice([{"instances": instances}, instances]), ensure_ascii=chance.random() < 0.9
    )
    accept = chance.choice([JSON, LINES, NPY, "text/csv", "*/*", "image/png"])
    return post(body.encode(errors="surrogatepass"), JSON, Accept=accept)


def odd_json(chance: random.Random) -> Wire:
    """JSON of another form, and what is none."""
    deep = chance.choice([500, 5_000, 200_000])
    body = chance.choice([
        b"[" * deep, b"[" * deep + b"]" * deep, b'{"instances":' * deep,
        b'{"a":' * deep + b"1" + b"}" * deep, b'{"instances": [NaN]}',
        b'{"instances": [[[[NaN, Infinity, -Infinity]]]]}', b"NaN", b"null", b'"a"',
        b'{"instances": ' + b"9" * chance.choice([400, 5_000, 100_000]) + b"}", b"1e999999", b"-" * 1000,
        b'{"instances": {"a": 1}}', b'{"instances": null, "instances": []}', b'{"instances": [[[[1,]]]]}',
        b"\xef\xbb\xbf[]", "[]".encode("utf-16"), "[1]".encode("utf-32"), b"\xff\xfe", b"\0",
        b'["\\ud800"]', b"[" + b"[]," * 50_000 + b"[]]", b'[{"b64": "' + b"A" * 400_000 + b'"}]',
        b" " * 100_000, b'["\x01"]',
    ])  # fmt: skip
    return post(body, chance.choice([JSON, LINES, "application/json; charset=utf-16"]))


def mutated_json(chance: random.Random) -> Wire:
    """Good JSON, damaged."""
    body = json.dumps({"instances": [{"b64": base64.b64encode(_picture(chance)[1]).decode()}] * 2}).encode()
    return post(_mutated(body, chance), chance.choice([JSON, LINES]))


def odd_lines(chance: random.Random) -> Wire:
    """JSON lines, among them empty, broken and too many ones."""
    lines = [json.dumps(each).encode() for each in _instances(chance)]
    for _ in range(chance.randrange(3)):
        lines.insert(chance.randrange(len(lines) + 1), chance.choice([b"", b"{", b"\xff", b"[]", b"1 2"]))
    body = chance.choice([b"\n", b"\r\n", b"\r", b"\n\n", b"\0"]).join(lines)
    return post(body, LINES, Accept=chance.choice([LINES, JSON, "text/csv", NPY]))


# ─── headers and routes ──────────────────────────────────────────────────────────────────────────────


def _odd_text(chance: random.Random) -> str:
    """A header's value; no line end in it."""
    noise = chance.randbytes(chance.randrange(40)).decode("latin-1")
    return chance.choice([
        "", " ", ";", ",", "*", "*/*", "a/b", "image/*;q=0", "=", "é", "\xff\xfe", '"', "\\", "{}", "%00",
        "%s", "\t", "/" * 500, ";" * 5_000, ",a/b" * 2_000, "q=" * 3_000, "text/html;q=1e999", "*/*;q=nan",
        "*/*;q=" + "1" * 5_000, "".join(each for each in noise if each not in "\r\n\0"), "$(reboot)",
        "${jndi:ldap://127.0.0.1:1/a}",
    ])  # fmt: skip


def odd_content_type(chance: random.Random) -> Wire:
    """A good picture as a type that nobody knows, or as a form."""
    known = chance.choice(CONTENT_TYPES)
    content_type = chance.choice([
        _odd_text(chance), known + _odd_text(chance), known.upper(),
        f" {known} ; charset={_odd_text(chance)}", "multipart/form-data; boundary=x", "Multipart/Mixed",
        "application/x-www-form-urlencoded", f"{known},{known}",
        f"{known}\r\nContent-Type: multipart/form-data; boundary=x", f"{known}\r\nContent-Type: {known}",
    ])  # fmt: skip
    return post(pictures()["JPEG 0"], content_type)


def odd_accept(chance: random.Random) -> Wire:
    """An answer in a type that is not there, or asked for in a way that nobody writes."""
    offers = [
        chance.choice([JSON, LINES, NPY, "text/csv", "image/png", "text/html", "*/*", _odd_text(chance)])
    ]
    offers += [
        f"{_odd_text(chance)};q={chance.choice(['0', '1', '.5', '2', '-1', 'a', '', '0.0000001'])}"
    ] * 2
    chance.shuffle(offers)
    return post(pictures()["PNG 0"], "image/png", Accept=",".join(offers[: chance.randrange(1, 4)]))


def odd_attributes(chance: random.Random) -> Wire:
    """Options that are none."""
    name = chance.choice(["top_k", "explain", "tta", "Top_K", "", "__class__", _odd_text(chance)[:2_000]])
    value = chance.choice([
        "0", "1", "-1", "99999", "9" * 2_000, "٣", "1e3", "true", "TRUE", "yes", "", "nan",
        _odd_text(chance)[:2_000],
    ])  # fmt: skip
    attributes = chance.choice([f"{name}={value}", f"{name}={value}," * 3, f"explain=true;{name}={value}"])
    accept = chance.choice([JSON, "image/png", "text/csv"])
    return post(
        pictures()["JPEG 0"],
        "image/jpeg",
        Accept=accept,
        X_Amzn_SageMaker_Custom_Attributes=attributes.encode("utf-8").decode("latin-1"),
    )


def odd_headers(chance: random.Random) -> Wire:
    """Headers that mean something to somebody, and huge, many, empty and double ones."""
    name, value = chance.choice([
        ("Content_Encoding", "gzip"), ("Content_Encoding", "deflate, br"), ("Expect", "100-continue"),
        ("Expect", "x"), ("Range", "bytes=0-5"), ("If_Match", "*"), ("If_Modified_Since", "x"),
        ("Upgrade", "h2c"), ("TE", "trailers"), ("X_Request_Id", _odd_text(chance)),
        ("Cookie", "a=" * 2_000), ("Authorization", _odd_text(chance)), ("Host", "a b"),
        ("Content_Disposition", 'form-data; name="body"'), ("X_HTTP_Method_Override", "DELETE"),
        ("X_Long", "x" * chance.choice([8_000, 15_000])), ("Content_Length", "5"), ("Content_Length", "-1"),
        ("Accept_Encoding", "gzip, br"), ("Content_Type", "image/png"), (_odd_text(chance)[:9], "x"),
        ("", "x"),
    ])  # fmt: skip
    headers = {f"X_{number}": "x" for number in range(chance.choice([0, 0, 0, 90, 1_000]))}
    double = name in {"Host", "Content_Length", ""} or not name.replace("_", "").isalnum()
    wire = post(pictures()["JPEG 0"], "image/jpeg", **{name: value}, **headers)
    return Wire(wire.content, framed=not double)


def headers_too_large(chance: random.Random) -> Wire:
    """Above nginx's limit: it closes while they are still being sent, so that the answer may be lost."""
    size = chance.choice([17_000, 70_000, 1_000_000])
    where = chance.choice(["path", "header", "many"])
    if where == "path":
        return Wire(head("GET", "/ping?" + "a" * size) + b"\r\n", framed=False)
    if where == "header":
        return Wire(head("GET", "/ping", X_Long="a" * size) + b"\r\n", framed=False)
    return Wire(
        head("GET", "/ping", **{f"X_{each}": "a" * 1_000 for each in range(size // 1_000)}) + b"\r\n",
        framed=False,
    )


def odd_route(chance: random.Random) -> Wire:
    """Methods and paths of others."""
    method = chance.choice([
        "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get",
    ])  # fmt: skip
    path = chance.choice([
        "/", "/ping", "/invocations", "/execution-parameters", "/models", "/models/model",
        "/predictions/model", "/api-description", "/malformed", "/headers-too-large", "/invocations/",
        "/%69nvocations", "/ping/../models", "//ping", "/ping?%zz", "/ping?a=%", "/ping#a", "/ping;a",
        "/invocations?x=%zz", "/%ff%fe", "/%00", "/..%2f..", "/\xff", "/é".encode().decode("latin-1"),
        "http://test/ping", "http://other:1/models", "*", "/" + "a" * 5_000, "/ping%0d%0aX:%20y",
        "/invocations%3fa", "/'\"<>\\", "/execution-parameters?" + "a=" * 500, "/.%00./ping",
    ])  # fmt: skip
    body = chance.choice([b"", b"", pictures()["JPEG 0"]])
    framed = method.isupper() and path.isascii() and "%00" not in path and path != "*"
    return Wire(head(method, path, content_type="image/jpeg") + _sized(body), framed=framed)


# ─── framing ─────────────────────────────────────────────────────────────────────────────────────────


def chunked(chance: random.Random) -> Wire:
    """A good picture in good chunks of any size, with extensions and trailers."""
    content, pieces = pictures()["JPEG 0"], []
    while content:
        size = chance.choice([1, 7, 100, 5_000])
        extension = chance.choice(["", "", ";a=b", ";" + "x" * 100])
        piece, content = content[:size], content[size:]
        pieces.append(f"{len(piece):x}{extension}\r\n".encode() + piece + b"\r\n")
    end = b"0\r\n" + chance.choice([b"", b"X-Trailer: a\r\n"]) + b"\r\n"
    start = head("POST", "/invocations", content_type="image/jpeg", transfer_encoding="chunked") + b"\r\n"
    return Wire(start + b"".join(pieces) + end)


def broken_chunks(chance: random.Random) -> Wire:
    """Sizes that are none, that lie, or that never end."""
    size = chance.choice([
        b"zz", b"-1", b"ffffffffffffffff", b"fffffffff", b"5", b"", b"0x5", b"5 5", b"3;", b"1" * 50,
    ])  # fmt: skip
    body = (
        size
        + chance.choice([b"\r\n", b"\n", b"\r", b""])
        + b"hello"
        + chance.choice([b"\r\n0\r\n\r\n", b"0", b""])
    )
    encoding = chance.choice(
        ["chunked", "chunked, chunked", "gzip, chunked", "identity", "x", "Chunked ", "chunked\0"]
    )
    start = head("POST", "/invocations", content_type="image/jpeg", transfer_encoding=encoding)
    start += chance.choice([b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
    return Wire(start + b"\r\n" + body, framed=False)


def lying_length(chance: random.Random) -> Wire:
    """A length that is not the body's, or is no number."""
    content = pictures()["JPEG 0"]
    length = chance.choice([
        str(len(content) + 1), str(len(content) - 1), "0", "-1", "1e3", "abc", "", "+5", "5, 5", "0x10",
        "9" * 30, str(20 * 2**20), str(21 * 2**20), str(2**31), str(2**63 - 1), str(2**64),
        "٣".encode().decode("latin-1"),
    ])  # fmt: skip
    start = head("POST", "/invocations", content_type="image/jpeg", content_length=length)
    return Wire(start + b"\r\n" + content, framed=False)


def pipelined(chance: random.Random) -> Wire:
    """Several good requests at once, and perhaps one that is none."""
    parts = [
        whole_picture(chance).content.replace(b"Connection: close\r\n", b"")
        for _ in range(chance.randrange(1, 6))
    ]
    if chance.random() < 0.5:
        parts.insert(
            chance.randrange(len(parts) + 1),
            chance.choice([b"\r\n", b"GET /ping HTTP/1.1\r\n\r\n", b"\0" * 9, b"x"]),
        )
    return Wire(b"".join(parts), framed=False)


def cut_off(chance: random.Random) -> Wire:
    """A good request whose client goes away in the middle."""
    content = whole_picture(chance).content
    return Wire(content[: chance.randrange(len(content))], framed=False)


def no_http(chance: random.Random) -> Wire:
    """Other protocols, other versions, and noise."""
    hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + chance.randbytes(60)
    versions = [
        "HTTP/0.9",
        "HTTP/1.0",
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/9.9",
        "HTTP/1.10",
        "HTTP/",
        "http/1.1",
        "HTCPCP/1.0",
    ]
    content = chance.choice([
        hello, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), b"SSH-2.0-x\r\n", chance.randbytes(300),
        b"GET /ping\r\n", *(head("GET", "/ping", version=version) + b"\r\n" for version in versions),
        b"\r\n" * 9, b"GET /ping HTTP/1.1\r\n\r\n", b"GET /ping HTTP/1.1\nHost: a\n\n",
        b"PROXY TCP4 1 2 3 4\r\n", b"GET  /ping  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost : a\r\n\r\n", b"GET /a\0b HTTP/1.1\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nno colon\r\nHost: a\r\n\r\n",
    ])  # fmt: skip
    return Wire(content, framed=False)


# How often each kind comes: what is cheap, or has found something, more often.
_OFTEN: dict[Callable[[random.Random], Wire], int] = {
    whole_picture: 6, truncated_picture: 14, mutated_picture: 26, mutated_picture_head: 26,
    two_pictures_in_one: 10, wrong_type: 10, noise_with_a_signature: 8, picture_of_odd_shape: 4,
    bomb_by_its_head: 10, bomb_beside_the_pixels: 5, mutated_array: 8, pickled_array: 3,
    hostile_array_header: 16, array_of_extremes: 3, odd_instances: 6, odd_json: 12, mutated_json: 6,
    odd_lines: 4, odd_content_type: 8, odd_accept: 8, odd_attributes: 10, odd_headers: 10,
    headers_too_large: 2, odd_route: 10, chunked: 2, broken_chunks: 6, lying_length: 6, pipelined: 4,
    cut_off: 4, no_http: 6, largest_picture: 1, jpeg_of_many_scans: 1, damaged_fax: 1,
}  # fmt: skip


def _spread() -> Iterator[Callable[[random.Random], Wire]]:
    kinds = [kind for kind, times in _OFTEN.items() for _ in range(times)]
    random.Random(SEED).shuffle(kinds)
    yield from itertools.chain(kinds)


SCHEDULE = tuple(_spread())
