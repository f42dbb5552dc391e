"""Picture → what the network sees of it: its centre, or one of its numbered random crops.

The numbers here go into the artifact's `preprocessing`; serving does the same from there. Called by
`trainer.extraction` and `trainer.loading`. Pillow and numpy only: a trial should not wait for torchvision.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

CENTRE = 0  # the number of the view that evaluation and serving use
_RULES = 1  # count up when a picture's views become others: their cached features are then made anew
_RATIOS = (3 / 4, 4 / 3)
_MAX_RESIZED_PIXELS = 20_000_000  # a strip of 1 × 50,000,000 would be resized to gigabytes


@dataclass(frozen=True)
class Preprocessing:
    """The short side is resized to `resize`, the centre `crop` × `crop` is kept (pixels)."""

    resize: int = 256
    crop: int = 224

    def as_dict(self) -> dict[str, Any]:
        """The `preprocessing` object of artifact.json."""
        return {
            "resize": self.resize,
            "crop": self.crop,
            "interpolation": "bilinear",
            "mean": list(MEAN),
            "std": list(STD),
        }


@dataclass(frozen=True)
class Views:
    """How a picture is looked at; view 0 is its centre, every other number one random crop of it.

    A crop follows from the picture's content and the view's number alone, so that it is the same
    in every run, process and order. It covers at least `min_area` of the picture (0 to 1).
    """

    size: Preprocessing
    min_area: float

    def pixels(self, image: Image.Image, *, digest: bytes, number: int) -> Pixels:
        """View `number` of an RGB picture: (crop, crop, 3)."""
        if number == CENTRE:
            return np.asarray(centre(image, self.size))
        random = np.random.default_rng([number, *np.frombuffer(digest, np.uint32).tolist()])
        side = (self.size.crop, self.size.crop)
        view = image.resize(side, Image.Resampling.BILINEAR, box=self._random_box(image, random))
        if random.random() < 0.5:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(view)

    def _random_box(self, image: Image.Image, random: np.random.Generator) -> Box:
        """torchvision's `RandomResizedCrop`: a share of the area and a ratio, drawn until the box fits."""
        for _ in range(10):
            area = image.width * image.height * random.uniform(self.min_area, 1)
            ratio = np.exp(random.uniform(*np.log(_RATIOS)))
            width, height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if 0 < width <= image.width and 0 < height <= image.height:
                left = int(random.integers(0, image.width - width + 1))
                top = int(random.integers(0, image.height - height + 1))
                return left, top, left + width, top + height
        side = min(image.width, image.height)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return left, top, left + side, top + side

    def as_dict(self, number: int) -> dict[str, Any]:
        """What identifies view `number`, for the key of the feature cache."""
        kind = {"view": "centre"} if number == CENTRE else {"view": number, "min_area": self.min_area}
        return {"resize": self.size.resize, "crop": self.size.crop, "rules": _RULES, **kind}


def centre(image: Image.Image, size: Preprocessing) -> Image.Image:
    """torchvision's `Resize(size.resize)` and `CenterCrop(size.crop)`: what serving does to a picture."""
    width, height = _resized(image, size.resize)
    left, top = _start(width, size.crop), _start(height, size.crop)
    if width * height > _MAX_RESIZED_PIXELS:
        return _centre_of_strip(image, (width, height), size.crop)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return image.crop((left, top, left + size.crop, top + size.crop))


def _resized(image: Image.Image, short_side: int) -> tuple[int, int]:
    """torchvision truncates the long side."""
    if image.width <= image.height:
        return short_side, int(short_side * image.height / image.width)
    return int(short_side * image.width / image.height), short_side


def _start(side: int, crop: int) -> int:
    """Python's rounding where the crop cuts, floor where it pads with black."""
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)


def _centre_of_strip(image: Image.Image, size: tuple[int, int], crop: int) -> Image.Image:
    """The centre of a resized picture whose rest is never made."""
    shape = (min(size[0], crop), min(size[1], crop))
    left, top = max(_start(size[0], crop), 0), max(_start(size[1], crop), 0)
    across, down = image.width / size[0], image.height / size[1]
    box = (left * across, top * down, (left + shape[0]) * across, (top + shape[1]) * down)
    canvas = Image.new("RGB", (crop, crop))
    part = image.resize(shape, Image.Resampling.BILINEAR, box=box)
    canvas.paste(part, (max(-_start(size[0], crop), 0), max(-_start(size[1], crop), 0)))
    return canvas
