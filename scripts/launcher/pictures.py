"""Picture files on this machine: which there are, and how each is sent to an endpoint.

Called by `datasets`, `endpoint`, `evaluation` and `invoke.py`.
"""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from launcher.errors import SettingsError

Image.init()  # Pillow loads its decoders at first use; two threads that do so at once see half of them

# Raster formats only: Pillow would also hand EPS and PDF to outside programs.
FORMATS = ("WEBP", "BMP", "GIF", "TIFF", "PPM")
KEPT_MODES = {
    "L",
    "RGB",
    "I;16",
}  # 16-bit grey reaches the endpoint as it is: a conversion here would clip it
JPEG, PNG, NPY = "image/jpeg", "image/png", "application/x-npy"
SIGNATURES = {b"\xff\xd8\xff": JPEG, b"\x89PNG\r\n\x1a\n": PNG, b"\x93NUMPY": NPY}
# What counts as a picture in a folder: the list of `trainer.images`, with which the job reads it.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


def find(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, and every picture below the given folders, in order.

    Raises SettingsError for a path that does not exist, and when nothing is found.
    """
    paths = list(paths)
    if missing := [path for path in paths if not path.exists()]:
        raise SettingsError(f"{missing[0]} does not exist")
    found = [file for path in paths for file in (below(path) if path.is_dir() else [path])]
    if not found:
        raise SettingsError(
            f"no pictures in {', '.join(map(str, paths))}: looked for {' '.join(sorted(SUFFIXES))}"
        )
    return found


def below(folder: Path) -> Iterator[Path]:
    """Yield every picture of a folder and of the folders in it, in order; hidden files do not count."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith("."):
            yield file


def readable(file: Path) -> tuple[bytes, str]:
    """Return a file's bytes and its media type, told by its content.

    A picture in another format than JPEG and PNG is converted to PNG; whatever is none is sent as it is, so
    that the endpoint says what is wrong with it. Raises OSError when the file cannot be read.
    """
    body = file.read_bytes()
    for signature, media_type in SIGNATURES.items():
        if body.startswith(signature):
            return body, media_type
    converted = BytesIO()
    try:
        with Image.open(BytesIO(body), formats=FORMATS) as picture:
            upright = ImageOps.exif_transpose(picture)
            keep = upright.mode in KEPT_MODES
            (upright if keep else upright.convert("RGB")).save(converted, "PNG")
    except (OSError, ValueError, Image.DecompressionBombError):
        return body, PNG if file.suffix.lower() == ".png" else JPEG
    return converted.getvalue(), PNG
