"""Picture files of every kind become the RGB that serving sees, or a reason that a person understands."""

import io
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from predictor import images as serving
from trainer import images
from trainer.images import UnreadableError, decode, read_file

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
RED, GREEN, BLUE = (200, 30, 60), (20, 180, 40), (0, 40, 210)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG by hand, for what Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )


def ycck(rgb: tuple[int, int, int]) -> bytes:
    """The CMYK of Adobe's programs: YCC of the inverted colours and an inverted black, marked so."""
    inverted = Image.new("RGB", (32, 32), tuple(255 - value for value in rgb)).convert("YCbCr")
    planes = [plane.point(lambda value: 255 - value) for plane in inverted.split()]  # Pillow inverts as well
    content = bytearray(encoded(Image.merge("CMYK", [*planes, Image.new("L", (32, 32), 0)]), "JPEG"))
    content[content.index(b"Adobe") + 11] = 2  # the transform: 0 is CMYK, 2 is YCCK
    return bytes(content)


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40)


def transparent_palette() -> Image.Image:
    image = Image.new("RGB", (32, 32), RED).quantize(4)
    image.info["transparency"] = bytes([0, 128, 255, 255])
    return image


SIXTEEN_BITS = np.full((32, 32), 200 * 257, np.uint16)
WIDE_RED = tuple(value * 257 for value in RED)
CMYK = Image.new("CMYK", (32, 32), (55, 225, 195, 0))  # RED
GREY = (200, 200, 200)
SOUND = {
    "grey JPEG": (encoded(Image.new("L", (32, 32), 200), "JPEG"), GREY),
    "progressive JPEG": (encoded(Image.new("RGB", (32, 32), RED), "JPEG", progressive=True), RED),
    "CMYK JPEG, inverted as Adobe does": (encoded(CMYK, "JPEG"), RED),
    "YCCK JPEG": (ycck(RED), RED),
    "JPEG of several pictures": (encoded(Image.new("RGB", (32, 32), RED), "MPO", save_all=True,
                                         append_images=[Image.new("RGB", (32, 32), BLUE)]), RED),
    "black-and-white PNG": (encoded(Image.new("1", (32, 32), 1), "PNG"), (255, 255, 255)),
    "grey PNG with transparency": (encoded(Image.new("LA", (32, 32), (200, 10)), "PNG"), GREY),
    "PNG with transparency": (encoded(Image.new("RGBA", (32, 32), (*RED, 9)), "PNG"), RED),
    "palette PNG": (encoded(Image.new("RGB", (32, 32), RED).quantize(4), "PNG"), RED),
    "palette PNG with transparency": (encoded(transparent_palette(), "PNG"), RED),
    "16-bit grey PNG": (encoded(Image.fromarray(SIXTEEN_BITS), "PNG"), GREY),
    "16-bit colour PNG": (png(1, 1, depth=16, colour=2, rows=struct.pack(">B3H", 0, *WIDE_RED)), RED),
    "16-bit grey TIFF": (encoded(Image.fromarray(SIXTEEN_BITS), "TIFF"), GREY),
    "16-bit grey PGM": (b"P5\n2 1\n65535\n" + struct.pack(">2H", *(200 * 257,) * 2), GREY),
    "CMYK TIFF": (encoded(CMYK, "TIFF"), RED),
    "compressed TIFF": (encoded(Image.new("RGB", (32, 32), RED), "TIFF", compression="tiff_lzw"), RED),
    "TIFF of several pages": (animation("TIFF"), RED),
    "GIF": (encoded(Image.new("RGB", (32, 32), RED).quantize(4), "GIF"), RED),
    "animated GIF": (animation("GIF"), RED),
    "WebP": (encoded(Image.new("RGB", (32, 32), RED), "WEBP", lossless=True), RED),
    "animated WebP": (animation("WEBP"), RED),
    "BMP": (encoded(Image.new("RGB", (32, 32), RED), "BMP"), RED),
    "PPM": (encoded(Image.new("RGB", (32, 32), RED), "PPM"), RED),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOUND)
def test_every_kind_of_picture_becomes_rgb_with_its_colours(kind: str) -> None:
    content, colour = SOUND[kind]

    picture = decode(content)

    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture, int) - colour).max() < 10


@pytest.mark.parametrize("kind", [kind for kind in SOUND if "JPEG" in kind or "PNG" in kind])
def test_training_and_serving_see_the_same_pixels(kind: str) -> None:
    content, _ = SOUND[kind]

    assert np.array_equal(decode(content), serving.decode(io.BytesIO(content)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(NOISE, kind, exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")

    assert np.array_equal(decode(content), upright)
    if kind in ("JPEG", "PNG"):
        assert np.array_equal(decode(content), serving.decode(io.BytesIO(content)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # pytest undoes the module's own filter
def test_a_broken_exif_block_does_not_spoil_the_picture() -> None:
    content = encoded(NOISE, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")

    assert decode(content).size == NOISE.size


def test_real_photographs_have_the_pixels_that_serving_sees(dogs: Path) -> None:
    for path in sorted((dogs / "valid").rglob("*.jpg"))[::40]:
        content = read_file(path)

        assert np.array_equal(decode(content), serving.decode(io.BytesIO(content))), path


def test_sixteen_bit_grey_is_scaled_not_clipped_to_white() -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257

    picture = np.asarray(decode(encoded(Image.fromarray(ramp), "PNG")))

    assert (picture[..., 0].ravel() == np.arange(256)).all()


def test_the_limit_is_that_of_serving() -> None:
    assert images.MAX_PIXELS == serving.MAX_PIXELS


def reason(content: bytes) -> str:
    with pytest.raises(UnreadableError) as caught:
        decode(content)
    return str(caught.value)


UNREADABLE = {
    "nothing": (b"", "empty file"),
    "text": (b"this is a text\n" * 50, "not a picture of a known format"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture of a known format"),
    "the beginning of a PNG": (
        encoded(NOISE, "PNG")[:10], "damaged: it begins as a PNG picture and cannot be opened"
    ),
    "floating-point pixels": (
        encoded(NOISE.convert("F"), "TIFF"), "floating-point pixels; save it with 8 or 16 bits a channel"
    ),
    "a WebP of the right length and no content": (
        encoded(NOISE, "WEBP")[:16] + bytes(len(encoded(NOISE, "WEBP")) - 16),
        "cannot be decoded: could not create decoder object",
    ),
    "one row too many": (
        png(5_000, 10_001, depth=8, colour=0, rows=b""),
        "too large: 5000 × 10001 pixels, the limit is 50 million",
    ),
    "a small PNG of many pixels": (
        png(20_000, 20_000, depth=1, colour=0, rows=bytes(2_501 * 20_000)),
        "too large: 20000 × 20000 pixels, the limit is 50 million",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_picture_says_why(kind: str) -> None:
    content, expected = UNREADABLE[kind]

    assert reason(content) == expected


def test_the_largest_picture_is_not_refused_for_its_size() -> None:
    assert reason(png(5_000, 10_000, depth=8, colour=0, rows=b"")).startswith("truncated")


@pytest.mark.parametrize("side", [10_000, 20_000])  # Pillow itself warns of the one, refuses the other
def test_a_decompression_bomb_is_not_decoded_and_prints_nothing(tmp_path: Path, side: int) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(side, side, depth=1, colour=0, rows=bytes(side * (side // 8 + 1))))
    program = (
        "import pathlib, resource, sys\n"
        "from trainer.images import UnreadableError, decode\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: decode(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "except UnreadableError as error: print(error)\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, 'it was decoded'\n"
    )

    ran = subprocess.run([sys.executable, "-c", program, bomb], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"too large: {side} × {side} pixels, the limit is 50 million\n"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("JPEG", "truncated: it ends within the picture, after {left:,} bytes"),
        ("PNG", "truncated: it ends within the picture, after {left:,} bytes"),
        ("GIF", "truncated: it ends within the picture, after {left:,} bytes"),
        ("TIFF", "truncated: it ends within the picture, after {left:,} bytes"),
        ("PPM", "truncated: it ends within the picture, after {left:,} bytes"),
        ("WEBP", "truncated: {left:,} of {whole:,} bytes"),
        ("BMP", "truncated: {left:,} of {whole:,} bytes"),
    ],
)
def test_a_truncated_picture_says_where_it_ends(kind: str, expected: str, share: float) -> None:
    whole = encoded(NOISE.resize((200, 150)), kind)
    left = int(len(whole) * share)

    assert reason(whole[:left]) == expected.format(left=left, whole=len(whole))


KINDS_OF_JPEG: dict[str, dict[str, Any]] = {
    "sequential": {},
    "with its own codes": {"optimize": True},
    "progressive": {"progressive": True},
    "with restart markers": {"restart_marker_rows": 1},
    "progressive with restart markers": {"progressive": True, "restart_marker_rows": 2},
}


@pytest.fixture
def photograph(dogs: Path) -> Image.Image:
    return decode(next((dogs / "valid").rglob("*.jpg")).read_bytes()).resize((400, 300))


@pytest.mark.parametrize("options", KINDS_OF_JPEG.values(), ids=KINDS_OF_JPEG)
@pytest.mark.parametrize(
    "harm",
    [
        lambda whole: whole[: len(whole) // 2].ljust(len(whole), b"\0"),
        lambda whole: whole[: len(whole) // 2].ljust(len(whole) - 2, b"\0") + whole[-2:],
        lambda whole: whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :],
        lambda whole: whole[: len(whole) // 2] + whole[-2:],
        lambda whole: whole[: len(whole) // 4] + whole[-2:],
        lambda whole: whole[: len(whole) * 97 // 100] + whole[-2:],
    ],
    ids=[
        "half zeros",
        "half zeros and an end",
        "a page of zeros",
        "half",
        "quarter",
        "nearly all",
    ],
)
def test_a_jpeg_that_the_decoder_completes_with_grey_is_no_picture(
    photograph: Image.Image, options: dict[str, Any], harm: Callable[[bytes], bytes]
) -> None:
    whole = encoded(photograph, "JPEG", quality=90, **options)

    assert decode(whole).size == photograph.size
    assert reason(harm(whole)).startswith(("damaged: ", "truncated: "))


def test_a_hole_in_the_first_scan_of_a_progressive_jpeg_is_seen() -> None:
    whole = encoded(NOISE.resize((600, 400), Image.Resampling.NEAREST), "JPEG", progressive=True)

    assert reason(whole[:1_000] + bytes(1_000) + whole[2_000:]) == "damaged: a part of its data is missing"


@pytest.mark.parametrize("options", KINDS_OF_JPEG.values(), ids=KINDS_OF_JPEG)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (640, 480), (3, 900)])
def test_a_sound_jpeg_is_never_taken_for_a_damaged_one(
    size: tuple[int, int], mode: str, options: dict[str, Any]
) -> None:
    drawn = (Image.new("RGB", size, "white"), Image.new("RGB", size), NOISE.resize(size))
    for picture in (image.convert(mode) for image in drawn):
        whole = encoded(picture, "JPEG", **options)
        for behind in (b"", bytes(5_000), b"\xff\xd8\xff\xe1 another picture"):
            with Image.open(io.BytesIO(whole)) as expected:
                assert np.array_equal(decode(whole + behind), expected.convert("RGB"))


def test_a_small_picture_within_a_jpeg_is_not_taken_for_it(photograph: Image.Image) -> None:
    small = encoded(photograph.resize((40, 30)), "JPEG")
    whole = encoded(photograph, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + small)

    assert decode(whole).size == photograph.size
    assert reason(whole[: len(small) + 2_000] + b"\xff\xd9").startswith("damaged: ")


SMALL = {
    kind: encoded(NOISE.resize((24, 16)), kind)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM")
}
SMALL["palette PNG"] = encoded(NOISE.resize((24, 16)).quantize(16), "PNG")
SMALL["LZW TIFF"] = encoded(NOISE.resize((24, 16)), "TIFF", compression="tiff_lzw")


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), kind=st.sampled_from(sorted(SMALL)))
def test_a_damaged_picture_is_read_or_has_a_reason_and_nothing_else(data: st.DataObject, kind: str) -> None:
    content = bytearray(SMALL[kind])
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        assert decode(bytes(content)).mode == "RGB"
    except UnreadableError as error:
        assert str(error)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


def make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 3_000_000_000)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Path.mkdir, "a folder, not a file"),
        (os.mkfifo, "a named pipe, not a file"),
        (make_socket, "a socket, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "a device, not a file"),
        (lambda path: path.symlink_to("nowhere.jpg"), "a link to a file that does not exist"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: None, "no longer there"),
        (make_sparse, "too large: 3,000,000,000 bytes, the limit is 500,000,000"),
    ],
)
@pytest.mark.timeout(10)
def test_what_is_no_file_is_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None], expected: str
) -> None:
    make(tmp_path / "a.jpg")

    with pytest.raises(UnreadableError, match=f"^{expected}$"):
        read_file(tmp_path / "a.jpg")


def test_a_link_to_a_picture_is_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(SMALL["JPEG"])
    (tmp_path / "b.jpg").symlink_to("a.jpg")

    assert read_file(tmp_path / "b.jpg") == SMALL["JPEG"]


def test_many_threads_find_the_same_reason_in_a_fresh_process(tmp_path: Path) -> None:
    """Pillow loads its decoders at first use, and does not guard that against threads."""
    for name, content in SMALL.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "text").write_text("not a picture")
    program = (
        "import pathlib, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from trainer.images import UnreadableError, decode\n"
        "def look(path):\n"
        "    try: return decode(path.read_bytes()).mode\n"
        "    except UnreadableError as error: return str(error)\n"
        "with ThreadPoolExecutor(16) as pool:\n"
        "    print(sorted(set(pool.map(look, sorted(pathlib.Path(sys.argv[1]).iterdir()) * 16))))\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "['RGB', 'not a picture of a known format']"
