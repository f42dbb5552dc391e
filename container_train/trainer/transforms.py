"""Picture → normalised tensor, for training and for evaluation.

The numbers here go into the artifact's `preprocessing`; serving does the same from there.
Called by the job and by `trainer.export`.
"""

from dataclasses import dataclass
from typing import Any

from torchvision import transforms

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


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


def evaluation_transform(size: Preprocessing) -> transforms.Compose:
    """Resize, centre crop, normalise: what serving does to a picture."""
    return transforms.Compose(
        [
            transforms.Resize(size.resize, antialias=True),
            transforms.CenterCrop(size.crop),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def training_transform(size: Preprocessing, *, min_crop_area: float) -> transforms.Compose:
    """A random crop of at least `min_crop_area` of the picture, perhaps mirrored, normalised."""
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size.crop, scale=(min_crop_area, 1.0), antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
