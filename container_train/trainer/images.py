"""A picture file → an RGB picture, the same way as the serving side reads it.

Called by `trainer.data`, for the scan and for every picture that is trained on.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Image.init()  # Pillow loads its decoders at first use; two threads that do so at once see half of them
# Raster formats only: Pillow would also hand EPS and PDF to outside programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# The list of `launcher.pictures` as well: what is trained on is what the demo asks about.
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


def read_image(path: Path) -> Image.Image:
    """Decode a file completely, upright and in RGB.

    Raises whatever its decoder raises (mostly `OSError`) for a file that is truncated, empty or no
    picture of a known format.
    """
    with Image.open(path, formats=FORMATS) as image:
        image.load()
        return to_rgb(_upright(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB.

    Pillow's own conversion of 16-bit grey clips everything above 255 to white, so those
    pictures are scaled to 8 bits first. Transparency is dropped.
    """
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 65_535)
        image = Image.fromarray((wide // 257).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - broken EXIF in a picture that decodes: it has no orientation
        return image


def why_unreadable(path: Path) -> str | None:
    """The reason why a file cannot be trained on, or `None`; decodes all of it."""
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
        read_image(path)
    except UnidentifiedImageError:
        return "not a picture of a known format"
    except Exception as error:  # noqa: BLE001 - decoders raise anything on broken bytes: struct.error, KeyError …
        return " ".join(str(error).split()) or type(error).__name__
    return None
