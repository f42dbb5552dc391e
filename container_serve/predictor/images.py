"""A picture file's content → the pixels that the network looks at.

Called by `predictor.model` for every picture, over HTTP and offline alike. The result is that of
torchvision's `Resize(resize)` and `CenterCrop(crop)` on a PIL image, made with less work: a large JPEG is
decoded at a half, a quarter or an eighth of its size, any other large picture is shrunk before it is
resized, and only what the crop shows is resized at all. The difference is a level or two of 256, where
shrunk first a few more. Training sees the same pixels, but for what JPEGs differ that are decoded smaller.
"""

import io
import re
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from predictor.artifact import Preprocessing

# Pillow loads its decoders at first use, and two threads that do so at once see half of them. These are
# what FORMATS needs; `Image.init()` would load forty more at every start.
_DECODERS = (
    JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin, BmpImagePlugin, GifImagePlugin,
    TiffImagePlugin, PpmImagePlugin,
)  # fmt: skip
# PIL's warnings tell of a damaged picture what PictureError tells, less clearly.
warnings.filterwarnings("ignore", module=r"PIL\.")
# The limit below is checked before anything is decoded; Pillow's own is later and does not say the size.
Image.MAX_IMAGE_PIXELS = None

# What training reads as well. Raster formats only: Pillow would also hand EPS and PDF to outside programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
NAMES = "JPEG, PNG, WebP, GIF, BMP, TIFF or PPM"

MAX_PIXELS = 50_000_000
# JPEG's own limit. Pillow keeps 20 bytes for each row: a strip one pixel wide took a gigabyte.
MAX_SIDE = 65_535
# Of a JPEG; each is a pass over all of the picture, and fits into a few bytes. A progressive file has 10;
# libtiff, too, accepts a hundred in its JPEGs.
MAX_SCANS = 100
# Of a TIFF: what photographs are saved with. A fax makes libtiff print a line for each row that is damaged,
# three million for a file of 1 MB; and some of the others ask for gigabytes.
_COMPRESSIONS = ("raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "tiff_deflate", "packbits")
_JPEG_MARKER = re.compile(
    rb"\xff([^\x00\xd0-\xd7\xff])"
)  # a stuffed byte, a restart and a fill byte are none
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"
# What a picture may be shrunk to by cheaper means before it is resized, in lengths of the result: at 4 the
# filter still sees sixteen pixels for each that it makes (Pillow's `reducing_gap`; `thumbnail` takes 2).
_GAP = 4
_ORIENTATIONS = {  # EXIF 2.3, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)  # on their side


class PictureError(Exception):
    """The bytes are no readable picture of a known format."""


class PictureTooLargeError(PictureError):
    """The picture has more than `MAX_PIXELS` pixels, or a side above `MAX_SIDE`; it was not decoded."""


@dataclass(frozen=True)
class View:
    """What the network looks at: the centre of a picture.

    `pixels` are uint8 `(S, S, 3)`, RGB, or what a client has normalised itself, float32 `(3, S, S)`. `box` is
    the part of the upright picture that they show, in its pixels: left, top, right, bottom; beyond its
    edges where the picture is smaller than the crop.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    box: tuple[float, float, float, float]


def load_view(stream: BinaryIO, preprocessing: Preprocessing) -> View:
    """Decode one picture, turn it upright, resize and crop it.

    Raises `PictureTooLargeError` before decoding, `PictureError` for anything unreadable.
    """
    return crop_view(*_decode(stream, shortest=_GAP * preprocessing.resize), preprocessing)


def decode(stream: BinaryIO) -> Image.Image:
    """Decode a picture, told by its content, to an upright RGB one: of an animation the first frame.

    Raises as `load_view` does.
    """
    return _decode(stream, shortest=None)[0]


def _decode(stream: BinaryIO, *, shortest: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """The picture and its upright size; itself perhaps smaller, no side below `shortest`."""
    try:
        with Image.open(stream, formats=FORMATS) as image:
            size = image.size
            _check_size(*size)
            if image.format in ("JPEG", "MPO"):
                _check_scans(stream)
            if image.format == "TIFF" and image.info.get("compression") not in _COMPRESSIONS:
                raise PictureError("the TIFF must be uncompressed, or use LZW, Deflate, JPEG or PackBits")
            if shortest is not None:
                image.draft(None, (shortest, shortest))  # which only JPEG knows
            image.load()
            orientation = _orientation(image)
            return _upright(_to_rgb(image), orientation), size[::-1] if orientation in _TURNED else size
    except (PictureError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise PictureError(f"the picture is no {NAMES} file") from error
    except Exception as error:  # decoders raise anything on broken bytes: struct.error, KeyError …
        raise PictureError("the picture is damaged or cut off") from error


def count_pixels(content: bytes | bytearray) -> int:
    """How many pixels a picture's first bytes promise; 0 for what is no picture, which decoding will say."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 - as in `_decode`
        return 0


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PictureTooLargeError(
            f"the picture has {width * height:,} pixels; at most {MAX_PIXELS:,} are accepted"
        )
    if max(width, height) > MAX_SIDE:
        raise PictureTooLargeError(
            f"the picture is {width:,} × {height:,}; a side of at most {MAX_SIDE:,} is accepted"
        )


def _check_scans(stream: BinaryIO) -> None:
    """Refuse a JPEG of more than `MAX_SCANS` scans; the stream stays where it is."""
    place = stream.tell()
    stream.seek(0)
    content = stream.read()
    stream.seek(place)
    marker, scans = _JPEG_MARKER.search(content, 2), 0  # after the start of the image
    while marker and marker[1] != _END_OF_IMAGE:
        scans += marker[1] == _START_OF_SCAN
        if scans > MAX_SCANS:
            raise PictureError(f"the JPEG has more than {MAX_SCANS} scans; save it again with fewer")
        length = int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        marker = _JPEG_MARKER.search(content, marker.end() + length)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - broken EXIF in a picture that decodes: it has no orientation
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_ORIENTATIONS[orientation]) if orientation in _ORIENTATIONS else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise PictureError("the picture has floating-point pixels; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # 16-bit grey, which PIL's own conversion would clip to white
        wide = np.asarray(image).astype(np.uint32).clip(0, 65_535)
        image = Image.fromarray((wide // 257).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def resized_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """The size after torchvision's `Resize(short_side)`: the long side is truncated, not rounded."""
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def crop_view(image: Image.Image, size: tuple[int, int], preprocessing: Preprocessing) -> View:
    """The centre of a picture that has `size` and may come decoded smaller, `image`.

    Bilinear resize of the short side, then the centre crop, padded with black where it is larger.
    """
    crop = preprocessing.crop
    width, height = resized_size(*size, preprocessing.resize)
    left, top = _crop_start(width, crop), _crop_start(height, crop)
    inside = (max(left, 0), max(top, 0), min(left + crop, width), min(top + crop, height))
    across, down = size[0] / width, size[1] / height
    shrunk = round(max(size) / max(image.size))
    part = image.resize(
        (inside[2] - inside[0], inside[3] - inside[1]),
        Image.Resampling.BILINEAR,
        box=(
            inside[0] * across / shrunk,
            inside[1] * down / shrunk,
            min(inside[2] * across / shrunk, image.width),
            min(inside[3] * down / shrunk, image.height),
        ),
        reducing_gap=_GAP,
    )
    if part.size != (crop, crop):
        start = min(left, 0), min(top, 0)
        part = part.crop((*start, start[0] + crop, start[1] + crop))
    return View(np.asarray(part), (left * across, top * down, (left + crop) * across, (top + crop) * down))


def _crop_start(size: int, crop: int) -> int:
    """torchvision's `CenterCrop`: Python's rounding when it cuts, floor when it pads."""
    return round((size - crop) / 2.0) if size >= crop else -((crop - size) // 2)
