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
_RULES = 2  # count up when a picture's views become others: their cached features are then made anew
_RATIOS = (3 / 4, 4 / 3)
_GAP = 4  # lengths of the resized picture to which a large one may be shrunk first, as serving does


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
    """torchvision's `Resize(size.resize)` and `CenterCrop(size.crop)`, as serving does them.

    Only what the crop shows is resized, so that a value may differ from torchvision's by a level or two; a
    large picture is shrunk by cheaper means first.
    """
    crop = size.crop
    width, height = _resized(image, size.resize)
    left, top = _start(width, crop), _start(height, crop)
    inside = (max(left, 0), max(top, 0), min(left + crop, width), min(top + crop, height))
    across, down = image.width / width, image.height / height
    part = image.resize(
        (inside[2] - inside[0], inside[3] - inside[1]),
        Image.Resampling.BILINEAR,
        box=(
            inside[0] * across,
            inside[1] * down,
            min(inside[2] * across, image.width),
            min(inside[3] * down, image.height),
        ),
        reducing_gap=_GAP,
    )
    if part.size == (crop, crop):
        return part
    start = min(left, 0), min(top, 0)
    return part.crop((*start, start[0] + crop, start[1] + crop))


def _resized(image: Image.Image, short_side: int) -> tuple[int, int]:
    """torchvision truncates the long side."""
    if image.width <= image.height:
        return short_side, int(short_side * image.height / image.width)
    return int(short_side * image.width / image.height), short_side


def _start(side: int, crop: int) -> int:
    """Python's rounding where the crop cuts, floor where it pads with black."""
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)
