"""Where a backbone's pretrained weights come from: channel, image, download, in that order.

Called by the job. Random numbers are only used when `weights` is `none`, never as a way out.
"""

import importlib.util
import os
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.backbones import Backbone, TensorsByName
from trainer.download import download, file_sha256
from trainer.failures import WeightsError

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.pth$")  # torchvision's habit: resnet50-11ad3fa6.pth


@dataclass(frozen=True)
class Weights:
    """A backbone's tensors by name, and their origin: `channel`, `image`, `download` or `none`."""

    source: str
    tensors: TensorsByName | None = None
    file: Path | None = None
    sha256: str | None = None


def find_weights(
    backbone: Backbone, wanted: str, *, channel: Path, image: Path, patience: float = 15.0
) -> Weights:
    """The weights to start from; `wanted` is the hyperparameter, `auto` or `none`.

    `patience` is in seconds. Raises `WeightsError`, which says how to provide them, when there are none.
    """
    if wanted == "none":
        return Weights("none")
    for source, file in (("channel", _in_folder(backbone, channel)), ("image", _in_image(backbone, image))):
        if file is not None:
            return _read(file, source)
    return _read(_downloaded(backbone, patience), "download")


def _in_folder(backbone: Backbone, folder: Path) -> Path | None:
    """The one file named after the backbone; several would leave the choice to chance."""
    if not folder.is_dir():
        return None
    names = (backbone.name, backbone.name.replace("_", "-"))
    found = sorted({file for name in names for file in folder.glob(f"{name}*.pth")})
    if len(found) > 1:
        raise WeightsError(
            f"{folder} has several weight files for {backbone.name} "
            f"({', '.join(file.name for file in found)}); leave the one to be used"
        )
    return found[0] if found else None


def _in_image(backbone: Backbone, folder: Path) -> Path | None:
    return _in_folder(backbone, folder) or _in_package(backbone)


def _in_package(backbone: Backbone) -> Path | None:
    if backbone.package is None:
        return None
    package, _, inside = backbone.package.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / inside
    return file if file.is_file() else None


def _downloaded(backbone: Backbone, patience: float) -> Path:
    if backbone.url is None:
        raise WeightsError(f"no weights for {backbone.name} were found: {_how_to_provide(backbone)}")
    name = backbone.url.rpartition("/")[2]
    target = Path(torch.hub.get_dir()) / "checkpoints" / name
    try:
        return download(backbone.url, target, sha256_prefix=_promised_hash(name) or "", patience=patience)
    except WeightsError as error:
        raise WeightsError(f"no weights for {backbone.name}: {error}. {_how_to_provide(backbone)}") from error


def _how_to_provide(backbone: Backbone) -> str:
    example = backbone.url.rpartition("/")[2] if backbone.url else f"{backbone.name}.pth"
    return (
        f"Provide {example} in a channel named `pretrained` (or --pretrained DIR), or put it into "
        "docker/weights and rebuild the image, or start from random numbers with the "
        "hyperparameter weights=none"
    )


def _promised_hash(name: str) -> str | None:
    match = _HASH_IN_NAME.search(name)
    return match.group(1) if match else None


def _read(file: Path, source: str) -> Weights:
    """Read a weight file without unpickling objects; the hash in its name, if any, must hold."""
    digest = file_sha256(file)
    promised = _promised_hash(file.name)
    if promised and not digest.startswith(promised):
        raise WeightsError(f"{file} is damaged: its SHA-256 begins with {digest[: len(promised)]}")
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{file} is not a file of PyTorch weights: {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise WeightsError(f"{file} is not a plain state dict (name → tensor); save model.state_dict()")
    return Weights(source, dict(tensors), file, digest)


def image_weights_folder() -> Path:
    """The folder of the image's own weight files: TRAINER_WEIGHTS_DIR, in a checkout docker/weights."""
    checkout = Path(__file__).resolve().parents[2] / "docker" / "weights"
    return Path(os.environ.get("TRAINER_WEIGHTS_DIR") or checkout)
