"""A picture file → an upright RGB picture, pixel for pixel as the serving side reads all but large ones.

Called by `trainer.scan` for every file once, and by `trainer.data` for every picture that is trained on.
"""

import os
import re
import stat
import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
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

from trainer.jpeg import Delivery

# Pillow loads its decoders at first use, and two threads that do so at once see half of them. These are
# what FORMATS needs; `Image.init()` would load forty more at every start.
_DECODERS = (
    JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin, BmpImagePlugin, GifImagePlugin,
    TiffImagePlugin, PpmImagePlugin,
)  # fmt: skip
# The limit below is checked before anything is decoded; Pillow's own is later and does not say the size.
Image.MAX_IMAGE_PIXELS = None
# Pillow's warnings name no file; what makes a picture unreadable is an error as well.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Raster formats only: Pillow would also hand EPS and PDF to outside programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# The list of `launcher.pictures` as well: what is trained on is what the demo asks about.
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
MAX_PIXELS = 50_000_000  # serving refuses more
MAX_BYTES = 500_000_000  # more than that many pixels take uncompressed, with four channels of 16 bits

_JPEG = b"\xff\xd8\xff"
_SIGNATURES = {
    _JPEG: "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_ORIENTATIONS = {  # EXIF 2.3, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableError(Exception):
    """A file cannot be read as a picture; the message is the reason, for a person."""


def read_file(path: Path) -> bytes:
    """The content of a regular file.

    Raises `UnreadableError` for anything else of that name, without waiting for it.
    """
    try:
        _require_file(path.stat())
        # A named pipe that has taken the file's place meanwhile must not be waited for.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            return stream.read()
    except FileNotFoundError as error:
        gone = "a link to a file that does not exist" if path.is_symlink() else "no longer there"
        raise UnreadableError(gone) from error
    except PermissionError as error:
        raise UnreadableError("permission denied") from error
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from error


def decode(content: bytes) -> Image.Image:
    """A file's content as an upright RGB picture: all of it, or of an animation the first frame.

    The format is told by the content. Raises `UnreadableError`, for a picture of more than
    `MAX_PIXELS` pixels before it is decoded.
    """
    if not content:
        raise UnreadableError("empty file")
    try:
        delivery = Delivery(content) if content.startswith(_JPEG) else BytesIO(content)
        with Image.open(delivery, formats=FORMATS) as image:
            _require_size(image.size)
            image.load()
            if isinstance(delivery, Delivery) and (flaw := delivery.flaw(image)):
                raise UnreadableError(flaw)
            return _upright(to_rgb(image), _orientation(image))
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError(_why_unknown(content)) from error
    except MemoryError:
        raise  # not the picture's fault, as far as anybody can tell
    except Exception as error:  # decoders raise anything on broken bytes: struct.error, KeyError …
        raise UnreadableError(_why_undecodable(content, error)) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB.

    Pillow's own conversion of 16-bit grey clips everything above 255 to white, so those
    pictures are scaled to 8 bits first. Transparency is dropped. Raises `UnreadableError` for
    floating-point pixels, which have no agreed white.
    """
    if image.mode == "F":
        raise UnreadableError("floating-point pixels; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 65_535)
        image = Image.fromarray((wide // 257).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _require_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError(f"{_KINDS[stat.S_IFMT(status.st_mode)]}, not a file")
    if status.st_size > MAX_BYTES:
        raise UnreadableError(f"too large: {status.st_size:,} bytes, the limit is {MAX_BYTES:,}")


def _require_size(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableError(
            f"too large: {size[0]} × {size[1]} pixels, the limit is {MAX_PIXELS // 1_000_000} million"
        )


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - broken EXIF in a picture that decodes: it has no orientation
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_ORIENTATIONS[orientation]) if orientation in _ORIENTATIONS else image


def _why_unknown(content: bytes) -> str:
    for signature, name in _SIGNATURES.items():
        if content.startswith(signature):
            return f"damaged: it begins as a {name} picture and cannot be opened"
    return "not a picture of a known format"


def _why_undecodable(content: bytes, error: Exception) -> str:
    promised = _promised_bytes(content)
    if promised > len(content):
        return f"truncated: {len(content):,} of {promised:,} bytes"
    if re.search("truncated", str(error), re.IGNORECASE):
        return f"truncated: it ends within the picture, after {len(content):,} bytes"
    return f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}"


def _promised_bytes(content: bytes) -> int:
    """The size of the whole file by its own header, for the formats that have it there; else 0."""
    if content.startswith(b"RIFF") and len(content) >= 8:
        return int(struct.unpack_from("<I", content, 4)[0]) + 8
    if content.startswith(b"BM") and len(content) >= 6:
        return int(struct.unpack_from("<I", content, 2)[0])
    return 0
