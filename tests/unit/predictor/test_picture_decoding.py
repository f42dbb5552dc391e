"""Bytes of a picture → the network's input, compared with torchvision."""

import io
import random
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzed import jpeg_of_scans, tiff_by_hand
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin
from tiny_artifact import MEAN, STD, write_tiny_artifact

from predictor.artifact import Preprocessing
from predictor.codecs import TooLargeError
from predictor.images import (
    MAX_PIXELS,
    MAX_SCANS,
    MAX_SIDE,
    PictureError,
    PictureTooLargeError,
    crop_view,
    decode,
    load_view,
    resized_size,
)
from predictor.model import load_model

IMAGENET = Preprocessing(resize=256, crop=224, mean=MEAN, std=STD)
rng = np.random.default_rng(0)


def test_the_longest_strip_is_answered() -> None:
    strip = Image.new("L", (1, MAX_SIDE), 128)
    assert (_crop(strip.convert("RGB")) == 128).all()


def _file(image: Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return io.BytesIO(stream.getvalue())


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


SIZES = [(1, 1), (3, 500), (500, 3), (224, 224), (256, 256), (255, 257), (257, 255), (640, 480), (100, 37)]
SIZES += [
    (random.Random(seed).randint(1, 900), random.Random(-seed).randint(1, 900)) for seed in range(1, 25)
]


def _crop(image: Image.Image, preprocessing: Preprocessing = IMAGENET) -> np.ndarray:
    return crop_view(image, image.size, preprocessing).pixels.astype(int)


@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (200, 224), (224, 224), (199, 224), (233, 200)])
def test_the_crop_is_torchvisions_within_two_levels(resize: int, crop: int) -> None:
    """Also where it is larger than the resized picture, and padded."""
    from torchvision import transforms

    reference = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(crop)])
    ours = Preprocessing(resize=resize, crop=crop, mean=MEAN, std=STD)
    for width, height in SIZES:
        image = _noise(width, height)
        difference = np.abs(_crop(image, ours) - np.asarray(reference(image), dtype=int))
        assert difference.max() <= (2 if min(width, height) < 4 * resize else 20)


def _scene(width: int, height: int) -> Image.Image:
    """Waves and edges, as photographs have them."""
    down, across = np.mgrid[0:height, 0:width] / height
    waves = [np.sin(40 * across + 3 * down), np.sin(25 * down**2), np.sign(np.sin(9 * (across + down)))]
    return Image.fromarray((127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(2_200, 2_600), (4_097, 3_073), (4_000, 3_000)])
def test_a_large_picture_is_shrunk_with_next_to_no_difference(kind: str, size: tuple[int, int]) -> None:
    stream = _file(_scene(*size), kind)
    with Image.open(stream) as image:
        width, height = resized_size(*size, 256)
        whole = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    expected = np.asarray(whole.crop((left, top, left + 224, top + 224)), dtype=int)
    stream.seek(0)
    difference = np.abs(load_view(stream, IMAGENET).pixels - expected)
    assert difference.mean() < 0.5
    assert difference.max() <= 24


def test_a_large_jpeg_is_decoded_at_half_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, int]] = []
    load = JpegImagePlugin.JpegImageFile.load
    monkeypatch.setattr(
        JpegImagePlugin.JpegImageFile, "load", lambda image: decoded.append(image.size) or load(image)
    )
    view = load_view(_file(_scene(4_000, 3_000), "JPEG"), IMAGENET)
    assert decoded[0] == (2_000, 1_500)
    assert view.pixels.shape == (224, 224, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_is_what_the_view_shows_of_the_upright_picture(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = _file(_scene(1_600, 1_200), "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(stream))
    stream.seek(0)
    view = load_view(stream, IMAGENET)
    shown = upright.resize((224, 224), Image.Resampling.BILINEAR, box=view.box)
    assert np.abs(view.pixels - np.asarray(shown, dtype=int)).mean() < 1


def test_the_box_of_a_picture_smaller_than_the_crop_goes_beyond_it() -> None:
    image = _noise(100, 200)
    view = crop_view(image, image.size, Preprocessing(resize=100, crop=120, mean=MEAN, std=STD))
    assert view.box == (-10, 40, 110, 160)
    np.testing.assert_array_equal(view.pixels[:, 10:110], np.asarray(image)[40:160])
    assert not view.pixels[:, :10].any()


@settings(deadline=None)
@given(width=st.integers(1, 20_000), height=st.integers(1, 20_000), short=st.integers(1, 600))
def test_the_resized_size_is_torchvisions(width: int, height: int, short: int) -> None:
    from torchvision.transforms.functional import _compute_resized_output_size

    assert (
        list(resized_size(width, height, short))
        == _compute_resized_output_size((height, width), [short])[::-1]
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = _file(_noise(60, 40), "JPEG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(stream))
    stream.seek(0)
    np.testing.assert_array_equal(decode(stream), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_does_not_spoil_the_picture() -> None:
    stream = _file(_noise(60, 40), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode(stream).size == (60, 40)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "RGB"])
def test_every_png_mode_becomes_rgb(mode: str) -> None:
    image = _noise(50, 40).convert(mode)
    decoded = decode(_file(image))
    assert decoded.mode == "RGB"
    np.testing.assert_array_equal(decoded, image.convert("RGB"))


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    image = _noise(50, 40).convert("P", palette=Image.Palette.ADAPTIVE)
    decoded = decode(_file(image, transparency=bytes(range(256))))
    np.testing.assert_array_equal(decoded, image.convert("RGB"))


def test_sixteen_bit_grey_keeps_its_contrast() -> None:
    levels = np.linspace(0, 65_535, 256 * 40).reshape(40, 256).astype(np.uint16)
    decoded = np.asarray(decode(_file(Image.fromarray(levels))))
    assert decoded.min() == 0
    assert decoded.max() == 255
    assert len(np.unique(decoded)) == 256


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    red = Image.new("RGB", (64, 64), (220, 30, 30))
    decoded = np.asarray(decode(_file(red.convert("CMYK"), "JPEG", quality=95)), dtype=int)
    assert np.abs(decoded - [220, 30, 30]).max() < 12


def _in_mode(mode: str) -> Image.Image:
    if mode in {"I;16", "I", "F"}:
        levels = np.linspace(0, 65_535, 50 * 40).reshape(40, 50)
        return Image.fromarray(levels.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    return _noise(50, 40).convert(mode)


def _every_file() -> dict[str, bytes]:
    """A file of each format in each mode that it knows."""
    files = {}
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        for mode in ("RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I;16", "I", "F"):
            with suppress(OSError, ValueError):  # not every format knows every mode
                options = {"lossless": True} if kind == "WEBP" else {}
                files[f"{kind}-{mode}"] = _file(_in_mode(mode), kind, **options).getvalue()
    return files


EVERY_FILE = _every_file()


@pytest.mark.parametrize("name", EVERY_FILE)
def test_whatever_training_reads_is_read_pixel_for_pixel_alike(name: str) -> None:
    from trainer import images as training

    try:
        expected = training.decode(EVERY_FILE[name])
    except training.UnreadableError:
        with pytest.raises(PictureError):
            decode(io.BytesIO(EVERY_FILE[name]))
        return
    decoded = decode(io.BytesIO(EVERY_FILE[name]))
    assert decoded.mode == "RGB"
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    first, second = Image.new("RGB", (20, 20), "white"), Image.new("RGB", (20, 20), "black")
    decoded = decode(_file(first, kind, save_all=True, append_images=[second]))
    np.testing.assert_array_equal(decoded, first)


@pytest.mark.parametrize("kind", ["PDF", "EPS", "ICO", "TGA", "PCX"])
def test_other_formats_are_refused_by_their_content(kind: str) -> None:
    with pytest.raises(PictureError, match="is no JPEG, PNG"):
        decode(_file(_noise(20, 20), kind))


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\0" * 1000])
def test_what_is_no_picture_is_an_error(content: bytes) -> None:
    with pytest.raises(PictureError):
        decode(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_off_picture_is_an_error(kind: str, share: float) -> None:
    whole = _file(_noise(200, 200), kind).getvalue()
    with pytest.raises(PictureError, match="damaged or cut off"):
        decode(io.BytesIO(whole[: int(len(whole) * share)]))


def _empty_png(width: int, height: int) -> io.BytesIO:
    """A PNG header that promises a size, with no pixels behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return io.BytesIO(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + b"\0\0\1\0IDAT"
        + b"\0" * 16
    )


@pytest.mark.parametrize("size", [(7_072, 7_072), (50_000_001, 1), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_decoding(size: tuple[int, int]) -> None:
    started = time.monotonic()
    with pytest.raises(PictureTooLargeError, match="at most 50,000,000"):
        decode(_empty_png(*size))
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("size", [(1, 50_000_000), (MAX_SIDE + 1, 100)])
def test_a_strip_is_refused_before_pillow_makes_a_gigabyte_of_its_rows(size: tuple[int, int]) -> None:
    with pytest.raises(PictureTooLargeError, match="a side of at most 65,535"):
        decode(_empty_png(*size))


def test_the_largest_size_is_not_refused_for_its_size() -> None:
    with pytest.raises(PictureError, match="damaged"):
        decode(_empty_png(MAX_PIXELS // 5_000, 5_000))


def test_a_jpeg_of_more_scans_than_anybody_saves_is_refused_before_decoding() -> None:
    decode(io.BytesIO(jpeg_of_scans((64, 64), MAX_SCANS)))
    with pytest.raises(PictureError, match="more than 100 scans"):
        decode(io.BytesIO(jpeg_of_scans((64, 64), MAX_SCANS + 1)))


def test_scans_are_counted_no_further_than_the_picture() -> None:
    """A phone puts a film behind it, in which anything may stand, and a preview into its EXIF."""
    picture = _noise(64, 64)
    content = _file(picture, "JPEG", exif=b"Exif\0\0" + b"\xff\xda" * 500).getvalue()

    with_film = decode(io.BytesIO(content + b"\xff\xda\0\2" * 500))

    assert with_film.tobytes() == decode(_file(picture, "JPEG")).tobytes()


@pytest.mark.parametrize("compression", [2, 3, 4])
def test_a_fax_is_refused_without_a_word_from_libtiff(
    capfd: pytest.CaptureFixture[str], compression: int
) -> None:
    data, rows = random.Random(1).randbytes(10_000), 30_000
    tags = [(256, 4, 16), (257, 4, rows), (258, 3, 1), (259, 3, compression), (262, 3, 0)]
    strip = [(273, 4, 1000), (277, 3, 1), (278, 4, rows), (279, 4, len(data))]
    with pytest.raises(PictureError, match="the TIFF must be uncompressed, or use LZW"):
        decode(io.BytesIO(tiff_by_hand(tags + strip, data)))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits"])
def test_a_photographs_tiff_is_read(compression: str) -> None:
    colours = Image.new("RGB", (64, 48), (200, 100, 50))
    read = decode(_file(colours, "TIFF", compression=compression))
    assert np.abs(np.asarray(read).astype(int) - np.asarray(colours)).max() <= 2


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]))
def test_a_damaged_picture_is_decoded_or_refused_and_nothing_else(data: st.DataObject, kind: str) -> None:
    content = bytearray(SMALL[kind])
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert load_view(io.BytesIO(content), IMAGENET).pixels.shape == (224, 224, 3)
    except PictureError as error:
        assert str(error)


SMALL = {
    "JPEG": _file(
        _noise(24, 16), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06"
    ).getvalue(),
    "PNG": _file(_noise(24, 16).convert("P"), "PNG").getvalue(),
    "TIFF": _file(_noise(24, 16), "TIFF", compression="tiff_lzw").getvalue(),
    **{kind: _file(_noise(24, 16), kind).getvalue() for kind in ("WEBP", "GIF", "BMP", "PPM")},
}


def test_pictures_of_a_request_have_a_limit_together_and_those_beyond_it_are_not_decoded(
    tmp_path: Path,
) -> None:
    model = load_model(write_tiny_artifact(tmp_path / "model"), threads=1)
    large, small = _empty_png(10_000, 5_000).getvalue(), _file(_noise(8, 8)).getvalue()

    found = model.read([large, small, large, large, large, small])

    assert [str(each)[:40] if isinstance(each, Exception) else "read" for each in found] == [
        "picture 0: the picture is damaged or cut",
        "read",
        *(f"picture {number}: the picture is damaged or cut" for number in (2, 3)),
        "picture 4: those up to it have more than",
        "picture 5: those up to it have more than",
    ]
    assert isinstance(found[-1], TooLargeError)
