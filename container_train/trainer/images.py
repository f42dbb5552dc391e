"""A picture file → an RGB picture, the same way as the serving side reads it.

Called by `trainer.data`, for the scan and for every picture that is trained on.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

# Raster formats only: Pillow would also hand EPS and PDF to outside programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def read_image(path: Path) -> Image.Image:
    """Decode a file completely, upright and in RGB.

    Raises whatever its decoder raises (mostly `OSError`) for a file that is truncated, empty or no
    picture of a known format.
    """
    with Image.open(path, formats=FORMATS) as image:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB.

    Pillow's own conversion of 16-bit grey clips everything above 255 to white, so those
    pictures are scaled to 8 bits first. Transparency is dropped.
    """
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(
            (pixels * (255 / _white(image.mode, pixels))).clip(0, 255).round().astype(np.uint8)
        )
    return image.convert("RGB")


def _white(mode: str, pixels: npt.NDArray[np.float64]) -> float:
    """The value that means white: by the mode where it says, else by the brightest pixel."""
    if mode.startswith("I;16"):
        return 65535.0
    brightest = float(pixels.max(initial=0.0))
    return next((white for white in (255.0, 65535.0) if brightest <= white), brightest)


def why_unreadable(path: Path) -> str | None:
    """The reason why a file cannot be trained on, or `None`; decodes all of it."""
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
        read_image(path)
    except Image.UnidentifiedImageError:
        return "not a picture of a known format"
    except Exception as error:  # noqa: BLE001 - decoders raise anything on broken bytes: struct.error, KeyError …
        return " ".join(str(error).split()) or type(error).__name__
    return None
