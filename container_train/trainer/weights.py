"""Where a backbone's pretrained weights come from: channel, image, download, in that order.

Called by the job. Random numbers are only used when `weights` is `none`, never as a way out. A file is
found and checked at once, and read only when its tensors are asked for.
"""

import importlib.util
import os
import pickle
import re
import sys
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from trainer.backbones import Backbone, TensorsByName
from trainer.download import download, file_sha256
from trainer.failures import WeightsError

_SUFFIXES = (".pth", ".safetensors")
_HASH_IN_NAME = re.compile(
    r"-([0-9a-f]{8,})\.(pth|safetensors)$"
)  # torchvision's habit: resnet50-11ad3fa6.pth


@dataclass(frozen=True)
class Weights:
    """A backbone's weight file and its origin: `channel`, `image`, `download`, or `none` without a file."""

    source: str
    file: Path | None = None
    sha256: str | None = None

    @cached_property
    def tensors(self) -> TensorsByName | None:
        """The file's tensors by name; raises `WeightsError` for a file that is not one of weights."""
        return None if self.file is None else _read(self.file)


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
            return _checked(file, source)
    return _checked(_downloaded(backbone, patience), "download")


def _in_folder(backbone: Backbone, folder: Path) -> Path | None:
    """The one file named after the backbone; several would leave the choice to chance."""
    if not folder.is_dir():
        return None
    names = {backbone.file_name, backbone.file_name.replace("_", "-")}
    files = [file for file in sorted(folder.iterdir()) if file.suffix in _SUFFIXES]
    named = [file for file in files if file.name.startswith(tuple(names)) or file.name == _url_name(backbone)]
    closest = [file for file in named if _is_exactly(file, names) or file.name == _url_name(backbone)]
    found = closest or named
    if len(found) > 1:
        raise WeightsError(
            f"{folder} has several weight files for {backbone.name} "
            f"({', '.join(file.name for file in found)}); leave the one to be used"
        )
    return found[0] if found else None


def _is_exactly(file: Path, names: set[str]) -> bool:
    """Whether the file is named after this backbone and no longer name: vgg16_bn.pth is not for vgg16."""
    return any(re.match(rf"{re.escape(name)}[-.]", file.name) for name in names)


def _url_name(backbone: Backbone) -> str | None:
    return backbone.url.rpartition("/")[2] if backbone.url else None


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
    name = _url_name(backbone)
    if backbone.url is None or name is None:
        raise WeightsError(f"no weights for {backbone.name} were found. {_how_to_provide(backbone)}")
    target = Path(torch.hub.get_dir()) / "checkpoints" / name
    promised = _promised_hash(name)
    try:
        file = download(backbone.url, target, sha256_prefix=promised or "", patience=patience)
    except WeightsError as error:
        raise WeightsError(f"no weights for {backbone.name}: {error}. {_how_to_provide(backbone)}") from error
    if promised is None:
        print(
            f"warning: {file} is used unchecked: its address {backbone.url} promises no SHA-256; "
            f"it is {file_sha256(file)}",
            file=sys.stderr,
        )
    return file


def _how_to_provide(backbone: Backbone) -> str:
    example = _url_name(backbone) or f"{backbone.file_name}.pth or {backbone.file_name}.safetensors"
    return (
        f"Provide {example} in a channel named `pretrained` (or --pretrained DIR), or put it into "
        "docker/weights and rebuild the image, or start from random numbers with the "
        "hyperparameter weights=none"
    )


def _promised_hash(name: str) -> str | None:
    match = _HASH_IN_NAME.search(name)
    return match.group(1) if match else None


def _checked(file: Path, source: str) -> Weights:
    """The file with its SHA-256; the hash in its name, if any, must hold."""
    digest = file_sha256(file)
    promised = _promised_hash(file.name)
    if promised and not digest.startswith(promised):
        raise WeightsError(
            f"{file} is damaged: its name promises a SHA-256 that begins with {promised}, "
            f"it begins with {digest[: len(promised)]}; replace it or delete it"
        )
    return Weights(source, file, digest)


def _read(file: Path) -> TensorsByName:
    """The tensors of a weight file, without unpickling objects."""
    tensors = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise WeightsError(f"{file} is not a plain state dict (name → tensor); save model.state_dict()")
    return dict(tensors)


def _read_torch(file: Path) -> object:
    mapped = zipfile.is_zipfile(file)  # then only what is used is read; files of before 2020 are none
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{file} is not a file of PyTorch weights: {str(error).splitlines()[0]}"
        ) from error


def _read_safetensors(file: Path) -> TensorsByName:
    from safetensors import SafetensorError  # noqa: PLC0415 - few files are of this kind
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        return dict(sorted(load_file(file).items()))  # the format keeps no order
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is not a safetensors file: {str(error).splitlines()[0]}") from error


def image_weights_folder() -> Path:
    """The folder of the image's own weight files: TRAINER_WEIGHTS_DIR, in a checkout docker/weights."""
    checkout = Path(__file__).resolve().parents[2] / "docker" / "weights"
    return Path(os.environ.get("TRAINER_WEIGHTS_DIR") or checkout)
