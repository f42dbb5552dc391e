"""A batch through a network in parts: no more at once than memory holds, and none after a stop request.

Called by the training loop, the evaluation, the extraction of features and the start of a head.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from trainer.failures import TrainingError
from trainer.termination import Stop

_PROCESSOR_PIECE = 4 * 3 * 224 * 224  # numbers: four pictures, a second of ResNet50's training on two cores


def piece_size(inputs: Tensor) -> int:
    """How many of the inputs go through a network at once, memory permitting.

    A processor takes no more than it does in about a second, because a stop is heard only between pieces.
    It follows from the inputs' shape alone, so a run that goes on divides its batches as it did before.
    """
    if inputs.device.type != "cpu":
        return max(1, len(inputs))
    return max(1, _PROCESSOR_PIECE // max(1, math.prod(inputs.shape[1:])))


def in_pieces(compute: Callable[[Tensor], Tensor], inputs: Tensor, stop: Stop) -> Iterator[Tensor]:
    """What `compute` makes of the inputs, piece by piece; ends early when a stop is requested."""
    for piece in inputs.split(piece_size(inputs)):
        if stop.requested:
            return
        yield by_halves(compute, piece)


def by_halves(compute: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """`compute(inputs)`, by halves where the whole exhausts the GPU's memory.

    Raises `TrainingError` where one picture does.
    """
    try:
        return compute(inputs)
    except torch.OutOfMemoryError as error:
        if len(inputs) < 2:
            raise out_of_memory() from error
    torch.cuda.empty_cache()
    return torch.cat([by_halves(compute, half) for half in inputs.chunk(2)])


def out_of_memory() -> TrainingError:
    """The error of a GPU that has no room for a single picture."""
    return TrainingError(
        "a single picture exhausts the GPU's memory: freeze more layers (unfreeze), lower crop, or choose an "
        "instance with a larger GPU"
    )
