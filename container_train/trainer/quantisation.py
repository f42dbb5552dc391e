"""An exported network → the same in int8, where validation finds nothing lost. Called by `trainer.export`.

Post-training quantisation by NNCF: what flows between the layers is observed on training pictures, and layers
compute in 8-bit integers from then on. Accuracy is measured on validation pictures, in f32 and in int8 by the
same engine; int8, where it is chosen, then answers the test pictures once: that is what is served. NNCF and
OpenVINO are imported here when they are needed.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.conversion import compile_network, read_network
from trainer.cpus import process_share
from trainer.failures import ExportError

CALIBRATION = 300  # training pictures
VALIDATION = 1500  # at most
LARGEST_DROP = 0.005  # of validation accuracy

# What computes in f32, by the kind of the layer; tried in this order until validation is content. Depthwise
# convolutions have few weights a channel and are cheap; after them come the ends of the network.
_CANDIDATES: tuple[tuple[str, ...], ...] = ((), ("GroupConvolution", "MatMul"))

Pictures = Callable[[], Iterable[tuple[Tensor, Tensor]]]  # normalised (N, 3, S, S) float32, targets (N)


@dataclass(frozen=True)
class Photographs:
    """What quantisation looks at; each call goes through the same pictures in the same order."""

    calibration: Pictures
    validation: Pictures
    test: Pictures


@dataclass(frozen=True)
class Quantised:
    """An int8 network or, where it is `None`, the finding that it answers too badly.

    `accuracy` on the validation pictures, from 0 to 1: `f32`, and `int8` of the last attempt; `test_accuracy`
    of what int8 names right of the test pictures, where it is kept. `float_layers` are the kinds of layers
    that were left in f32.
    """

    network: Any
    accuracy: dict[str, float]
    pictures: int
    float_layers: Sequence[str] = ()
    test_accuracy: float | None = None

    @property
    def chosen(self) -> str:
        """The precision that serving should use."""
        return "f32" if self.network is None else "int8"

    def as_dict(self) -> dict[str, Any]:
        """The `precision` object of artifact.json."""
        test = {} if self.test_accuracy is None else {"test_accuracy": self.test_accuracy}
        return {
            "chosen": self.chosen,
            "accuracy": self.accuracy,
            "pictures": self.pictures,
            "float_layers": list(self.float_layers),
            **test,
        }

    def line(self) -> str:
        """What a person wants to know."""
        kept = {"f32": "f32 kept", "int8": "int8 kept"}[self.chosen]
        layers = f", {' and '.join(self.float_layers)} in f32" if self.float_layers else ""
        test = (
            "" if self.test_accuracy is None else f"; on the test pictures {self.test_accuracy:.2%} in int8"
        )
        return (
            f"precision: {kept}{layers}; accuracy on {self.pictures} validation pictures "
            f"{self.accuracy['f32']:.2%} in f32, {self.accuracy['int8']:.2%} in int8{test}"
        )


def quantise(file: Path, photographs: Photographs) -> Quantised:
    """Quantise the network in `file`, an .xml with one input of any number of pictures.

    Kept is the first attempt that validation does not punish by more than `LARGEST_DROP`. The same file,
    pictures and processor give the same network. Raises `ExportError` without pictures.
    """
    original = read_network(file)  # also makes our own `openvino.Core` before NNCF makes others, see there
    calibration = [picture for images, _ in photographs.calibration() for picture in images.split(1)]
    reference: float | None = None
    for kinds in _CANDIDATES:
        network = _quantised(original, calibration, kinds)
        networks = [network] if reference is not None else [network, original]
        right, pictures = _count_right(networks, photographs.validation())
        if not pictures:
            raise ExportError("there are no validation pictures to hold int8 against f32")
        reference = right[-1] / pictures if reference is None else reference
        accuracy = {"f32": reference, "int8": right[0] / pictures}
        if reference - accuracy["int8"] <= LARGEST_DROP + 1e-9:
            (right_ones,), tested = _count_right([network], photographs.test())
            return Quantised(network, accuracy, pictures, kinds, right_ones / tested if tested else None)
    return Quantised(None, accuracy, pictures)


def _quantised(original: Any, calibration: Sequence[Tensor], float_kinds: Sequence[str]) -> Any:
    import nncf  # noqa: PLC0415

    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        original.clone(),
        nncf.Dataset(calibration, lambda picture: picture.numpy()),
        preset=nncf.QuantizationPreset.MIXED,  # weights symmetric, activations not: relu6, swish
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(types=list(float_kinds), validate=False) if float_kinds else None,
    )


def _count_right(networks: Sequence[Any], batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[int], int]:
    """How many pictures each network names right, and how many there are."""
    threads = process_share(os.environ)
    compiled = [compile_network(network, precision=torch.float32, threads=threads) for network in networks]
    right, pictures = [0] * len(compiled), 0
    for images, targets in batches:
        pictures += len(targets)
        for place, network in enumerate(compiled):
            right[place] += int((answers(network, images) == targets.numpy()).sum())
    return right, pictures


def answers(network: Any, images: Tensor) -> Any:
    """The classes (N) that a compiled network gives pictures (N, 3, S, S), one by one as in serving."""
    import openvino  # noqa: PLC0415

    found = np.zeros(len(images), dtype=np.int64)

    def note(request: Any, place: int) -> None:
        found[place] = int(request.get_output_tensor(0).data[0].argmax())

    requests = openvino.AsyncInferQueue(network)
    requests.set_callback(note)
    for place, picture in enumerate(images.split(1)):
        requests.start_async([np.ascontiguousarray(picture.numpy())], userdata=place)
    requests.wait_all()
    return found
