"""Picture files of every kind become the RGB that a viewer would show."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.images import read_image, why_unreadable


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6  # turn clockwise to view
    image.save(tmp_path / "turned.jpg", exif=exif)

    assert read_image(tmp_path / "turned.jpg").size == (20, 40)


@pytest.mark.parametrize(
    ("mode", "colour", "name", "expected"),
    [
        ("CMYK", (0, 255, 255, 0), "a.jpg", (255, 0, 0)),
        ("L", 130, "a.jpg", (130, 130, 130)),
        ("1", 1, "a.png", (255, 255, 255)),
        ("RGBA", (0, 200, 0, 128), "a.png", (0, 200, 0)),
        ("LA", (90, 10), "a.png", (90, 90, 90)),
        ("RGB", (0, 0, 200), "a.webp", (0, 0, 200)),
        ("RGB", (0, 0, 200), "a.ppm", (0, 0, 200)),
        ("L", 130, "a.pgm", (130, 130, 130)),
    ],
)
def test_every_colour_mode_becomes_rgb(
    tmp_path: Path, mode: str, colour: object, name: str, expected: tuple[int, int, int]
) -> None:
    Image.new(mode, (16, 16), colour).save(tmp_path / name)  # type: ignore[arg-type]

    image = read_image(tmp_path / name)

    assert image.mode == "RGB"
    assert np.abs(np.asarray(image).mean((0, 1)) - expected).max() < 6


def test_a_palette_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (200, 30, 60)).quantize(4).save(tmp_path / "a.gif")

    assert read_image(tmp_path / "a.gif").getpixel((5, 5)) == (200, 30, 60)


def test_sixteen_bit_grey_is_scaled_not_clipped_to_white(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(ramp).save(tmp_path / "ramp.png")

    image = np.asarray(read_image(tmp_path / "ramp.png"))

    assert (image[..., 0].ravel() == np.arange(256)).all()


def test_a_readable_file_has_no_reason(tmp_path: Path) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "a.jpg")

    assert why_unreadable(tmp_path / "a.jpg") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"this is a text\n" * 50, "not a picture of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture of a known format"),
    ],
)
def test_a_file_that_is_no_picture_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)

    assert why_unreadable(tmp_path / "a.jpg") == reason


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_a_truncated_file_of_any_format_is_unreadable(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])

    assert why_unreadable(tmp_path / name)


def test_many_threads_find_the_same_reason_in_a_fresh_process(tmp_path: Path) -> None:
    """Pillow loads its decoders at first use, and does not guard that against threads."""
    (tmp_path / "text.jpg").write_text("not a picture")
    program = (
        "import sys, pathlib\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from trainer.images import why_unreadable\n"
        "with ThreadPoolExecutor(16) as pool:\n"
        "    print(set(pool.map(why_unreadable, [pathlib.Path(sys.argv[1])] * 64)))\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "text.jpg"], capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "{'not a picture of a known format'}"
