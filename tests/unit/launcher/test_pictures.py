"""Which files are pictures, and in what form they are sent."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from launcher import pictures


def test_jpeg_and_png_are_sent_as_they_are(tmp_path: Path) -> None:
    for name, kind in (("a.jpg", "image/jpeg"), ("b.png", "image/png")):
        Image.new("RGB", (5, 4), "red").save(tmp_path / name)

        assert pictures.readable(tmp_path / name) == ((tmp_path / name).read_bytes(), kind)


def test_sixteen_bit_grey_is_not_clipped_on_the_way(tmp_path: Path) -> None:
    wide = np.array([[0, 300], [40_000, 65_535]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "scan.tiff")

    body, kind = pictures.readable(tmp_path / "scan.tiff")

    assert kind == "image/png"
    assert np.array_equal(np.asarray(Image.open(BytesIO(body))), wide)


def test_what_no_raster_decoder_knows_is_sent_unopened(tmp_path: Path) -> None:
    (tmp_path / "trap.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")

    body, kind = pictures.readable(tmp_path / "trap.png")

    assert (body, kind) == ((tmp_path / "trap.png").read_bytes(), "image/png")
