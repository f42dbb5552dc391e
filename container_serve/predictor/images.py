"""A picture file's content → the network's input array.

Called by `predictor.model` for every picture, over HTTP and offline alike. The result is, bit for bit,
what torchvision's `Resize(resize)`, `CenterCrop(crop)`, `ToTensor`, `Normalize` give for a PIL image.
"""

import warnings
from typing import Any, BinaryIO

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
_MAX_RESIZED_PIXELS = 20_000_000  # a strip of 1 × 50,000,000 would be resized to gigabytes
_ORIENTATIONS = {  # EXIF 2.3, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(Exception):
    """The bytes are no readable picture of a known format."""


class PictureTooLargeError(PictureError):
    """The picture has more than `MAX_PIXELS` pixels; it was not decoded."""


def load_picture(stream: BinaryIO, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Decode, turn upright, resize, crop and normalise one picture: float32 `(3, crop, crop)`.

    Raises `PictureTooLargeError` before decoding, `PictureError` for anything unreadable.
    """
    return normalise(resize_and_crop(decode(stream), preprocessing), preprocessing)


def decode(stream: BinaryIO) -> Image.Image:
    """Decode a picture, told by its content, to an upright RGB one: of an animation the first frame."""
    try:
        with Image.open(stream, formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise PictureTooLargeError(
                    f"the picture has {pixels:,} pixels; at most {MAX_PIXELS:,} are accepted"
                )
            image.load()
            return _upright(_to_rgb(image), _orientation(image))
    except (PictureError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise PictureError(f"the picture is no {NAMES} file") from error
    except Exception as error:  # decoders raise anything on broken bytes: struct.error, KeyError …
        raise PictureError("the picture is damaged or cut off") from error


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
    return image.convert("RGB")


def resized_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """The size after torchvision's `Resize(short_side)`: the long side is truncated, not rounded."""
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def resize_and_crop(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Bilinear resize of the short side, then the centre crop, padded with black if it is larger."""
    width, height = resized_size(image.width, image.height, preprocessing.resize)
    left, top = _crop_start(width, preprocessing.crop), _crop_start(height, preprocessing.crop)
    box = (left, top, left + preprocessing.crop, top + preprocessing.crop)
    if width * height > _MAX_RESIZED_PIXELS:
        return _resize_only(image, (width, height), box)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return image.crop(box)


def _crop_start(size: int, crop: int) -> int:
    """torchvision's `CenterCrop`: Python's rounding when it cuts, floor when it pads."""
    return round((size - crop) / 2.0) if size >= crop else -((crop - size) // 2)


def _resize_only(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """The same crop without making the rest of a very long resized picture.

    Equal to resizing first but for the last bit of PIL's single-precision source box.
    """
    inside = (max(box[0], 0), max(box[1], 0), min(box[2], size[0]), min(box[3], size[1]))
    across, down = image.width / size[0], image.height / size[1]
    source = (inside[0] * across, inside[1] * down, inside[2] * across, inside[3] * down)
    shape = (inside[2] - inside[0], inside[3] - inside[1])
    part = image.resize(shape, Image.Resampling.BILINEAR, box=source)
    canvas = Image.new("RGB", (box[2] - box[0], box[3] - box[1]))
    canvas.paste(part, (inside[0] - box[0], inside[1] - box[1]))
    return canvas


def normalise(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """RGB picture → float32 `(3, H, W)`, scaled to 0–1, `(x - mean) / std`."""
    pixels: NDArray[Any] = np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
    scaled = np.ascontiguousarray(pixels).astype(np.float32) / np.float32(255)
    scaled -= np.asarray(preprocessing.mean, dtype=np.float32).reshape(3, 1, 1)
    scaled /= np.asarray(preprocessing.std, dtype=np.float32).reshape(3, 1, 1)
    return scaled
