"""A view is what serving sees, or a random crop that follows from the picture's content and its number."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainer.loading import normalise
from trainer.views import CENTRE, MEAN, STD, Preprocessing, Views

DIGEST = bytes(range(32))


def picture(width: int, height: int) -> Image.Image:
    """A smooth gradient, in which every place has a colour of its own."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, (across + down) / 2], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (224, 224), (256, 256), (97, 301), (301, 97)])
@pytest.mark.parametrize("size", [Preprocessing(), Preprocessing(224, 224), Preprocessing(100, 224)])
def test_the_centre_is_what_torchvision_makes_within_two_levels(
    shape: tuple[int, int], size: Preprocessing
) -> None:
    from torchvision import transforms

    image = picture(*shape)
    reference = transforms.Compose([transforms.Resize(size.resize), transforms.CenterCrop(size.crop)])

    pixels = Views(size, 0.6).pixels(image, digest=DIGEST, number=CENTRE)

    assert np.abs(pixels.astype(int) - np.asarray(reference(image))).max() <= 2


def test_pixels_are_normalised_bit_for_bit_as_torchvision_does() -> None:
    from torchvision import transforms

    reference = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    image = picture(224, 224)

    assert torch.equal(normalise(torch.from_numpy(np.array(image))[None])[0], reference(image))


@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (97, 301), (2_500, 1_900), (3, 900), (1, 1)])
@pytest.mark.parametrize("size", [Preprocessing(), Preprocessing(224, 224), Preprocessing(100, 224)])
def test_the_centre_is_pixel_for_pixel_what_serving_sees(shape: tuple[int, int], size: Preprocessing) -> None:
    from predictor.artifact import Preprocessing as Served
    from predictor.images import crop_view

    rng = np.random.default_rng(shape[0])
    image = Image.fromarray(rng.integers(0, 256, (shape[1], shape[0], 3), dtype=np.uint8))
    served = crop_view(image, image.size, Served(resize=size.resize, crop=size.crop, mean=MEAN, std=STD))

    found = Views(size, 0.6).pixels(image, digest=DIGEST, number=CENTRE)

    assert np.array_equal(found, served.pixels)


def test_photographs_have_the_centre_that_torchvision_makes(dogs: Path) -> None:
    from torchvision import transforms

    reference = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    for file in sorted(dogs.glob("valid/*/*.jpg"))[::100]:
        image = Image.open(file).convert("RGB")
        found = Views(Preprocessing(), 0.6).pixels(image, digest=DIGEST, number=CENTRE)
        assert np.abs(found.astype(int) - np.asarray(reference(image))).max() <= 1


def test_a_random_crop_follows_from_content_and_number_alone() -> None:
    views = Views(Preprocessing(80, 64), 0.3)
    image = picture(120, 90)

    def look(digest: bytes, number: int) -> bytes:
        return views.pixels(image, digest=digest, number=number).tobytes()

    assert look(DIGEST, 1) == look(DIGEST, 1)
    assert len({look(DIGEST, number) for number in range(6)}) == 6
    assert look(DIGEST, 1) != look(DIGEST[::-1], 1)


def test_features_are_made_anew_when_the_views_of_a_picture_become_others() -> None:
    """Where this fails, count `_RULES` up: caches out there hold features of the old views."""
    views = Views(Preprocessing(80, 64), 0.3)
    noise = Image.fromarray(np.random.default_rng(9).integers(0, 256, (120, 90, 3), dtype=np.uint8))
    seen = [
        views.pixels(image, digest=DIGEST, number=number).tobytes()
        for image in (picture(120, 90), noise, noise.resize((400, 500)))
        for number in range(20)
    ]

    rules = views.as_dict(CENTRE)["rules"]

    assert (rules, hashlib.sha256(b"".join(seen)).hexdigest()[:16]) == (2, "5da68edf21ca8e11")


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    number=st.integers(1, 10_000),
    area=st.floats(0.05, 1),
)
def test_a_random_crop_has_the_right_shape_for_any_picture(
    width: int, height: int, number: int, area: float
) -> None:
    pixels = Views(Preprocessing(40, 32), area).pixels(picture(width, height), digest=DIGEST, number=number)

    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8


def test_random_crops_cover_at_least_the_smallest_area_and_are_mirrored_half_of_the_time() -> None:
    views = Views(Preprocessing(80, 64), 0.5)
    image = picture(200, 200)
    shares, mirrored = [], 0
    for number in range(1, 301):
        pixels = views.pixels(image, digest=DIGEST, number=number).astype(float)
        across, down = pixels[..., 0].mean(axis=0), pixels[..., 1].mean(axis=1)
        shares.append(np.ptp(across) * np.ptp(down) / 255**2)
        mirrored += across[0] > across[-1]

    assert min(shares) > 0.45
    assert max(shares) > 0.85
    assert 110 < mirrored < 190


def test_a_very_long_strip_is_cropped_without_being_resized_whole() -> None:
    pixels = Views(Preprocessing(), 0.6).pixels(
        Image.new("RGB", (1, 3_000_000), (9, 9, 9)), digest=DIGEST, number=0
    )

    assert pixels.shape == (224, 224, 3)
    assert (pixels == 9).all()
