"""PyTorch network → OpenVINO network. Called by `trainer.export` and, for its speed, by `trainer.extraction`.

OpenVINO is imported here when it is needed: a run whose features are cached starts without it.
"""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def convert(model: nn.Module, example: Tensor, *, shape: Sequence[int]) -> Any:
    """An `openvino.Model` of a network with one input of `shape`, -1 for any size, and one output."""
    import openvino  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # OpenVINO traces with what torch is phasing out
        return openvino.convert_model(
            model.eval(), example_input=example, input=openvino.PartialShape(list(shape))
        )


def compile_network(network: Any, *, precision: torch.dtype, threads: int) -> Any:
    """An `openvino.CompiledModel` for this processor, from a model or the path of its .xml.

    One picture and one thread a stream, `threads` of them; computes in float32 or bfloat16 as told,
    never in what OpenVINO would choose by itself.
    """
    hint = "bf16" if precision == torch.bfloat16 else "f32"
    return _core().compile_model(
        network,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": hint,
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
        },
    )


@functools.cache
def _core() -> Any:
    """The process's one `openvino.Core`.

    Each Core lends the main thread a stack for signal handlers. When two of them go in the order in which
    they came, that stack is gone while it is still in use, and the next signal, SIGTERM say, is a
    segmentation fault.
    """
    import openvino  # noqa: PLC0415

    return openvino.Core()


def read_network(file: Path) -> Any:
    """The `openvino.Model` of an .xml and the .bin beside it."""
    return _core().read_model(file)


def save_network(network: Any, file: Path) -> None:
    """Write `file`, an .xml, and the .bin beside it, in full precision."""
    import openvino  # noqa: PLC0415

    openvino.save_model(network, file, compress_to_fp16=False)
