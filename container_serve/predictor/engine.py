"""The OpenVINO engine: compiles the artifact's network and infers with it.

Called by `predictor.model`. Pictures are inferred one by one on a network compiled for one picture:
measured as fast as batches, and a picture's answer cannot depend on its neighbours.
"""

import queue
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from predictor.artifact import Artifact, ArtifactError

Logits = NDArray[np.float32]


class Engine:
    """A compiled network; `infer` may be called from as many threads as there are streams."""

    def __init__(self, artifact: Artifact, *, threads: int, streams: int = 1) -> None:
        """Compile the f32 network for `streams` parallel requests on `threads` threads in all."""
        self._shape = artifact.input_shape
        self._classes = len(artifact.classes)
        compiled = _compile(artifact, threads=threads, streams=streams)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    def infer(self, images: NDArray[np.float32]) -> Logits:
        """Normalised images, float32 `(N, 3, S, S)`, to raw logits, float32 `(N, classes)`."""
        logits = np.empty((len(images), self._classes), dtype=np.float32)
        request = self._requests.get()
        try:
            for row, image in enumerate(images):
                request.infer([np.ascontiguousarray(image[np.newaxis])], share_inputs=True)
                logits[row] = request.get_output_tensor(0).data[0]
        finally:
            self._requests.put(request)
        return logits


def _compile(artifact: Artifact, *, threads: int, streams: int) -> Any:
    files = artifact.engines["f32"]
    core = openvino.Core()
    try:
        network = core.read_model(files.model, files.weights)
        network.reshape({artifact.input_name: [1, *artifact.input_shape]})
        expected = [1, len(artifact.classes)]
        if list(network.output(0).shape) != expected:
            raise ArtifactError(
                f"the network answers {list(network.output(0).shape)} instead of {expected}",
                where=files.model,
                remedy="Export the artifact again.",
            )
        return core.compile_model(
            network,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # otherwise bf16 wherever the processor has it
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": streams,
                "ENABLE_CPU_PINNING": False,  # pinned workers would all sit on the first CPU
            },
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ArtifactError(
            f"OpenVINO cannot read the network: {reason}",
            where=files.model,
            remedy="Export the artifact again.",
        ) from error


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities along the last axis, in double precision."""
    wide = logits.astype(np.float64)
    shifted = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def run_selftest(engine: Engine, artifact: Artifact) -> float:
    """Infer the stored images and return the largest difference in probability from the stored logits.

    Raises `ArtifactError` above the artifact's tolerance.
    """
    images = _load_array(artifact.selftest.images, artifact.input_shape)
    expected = _load_array(artifact.selftest.logits, (len(artifact.classes),))
    if len(images) != len(expected) or len(images) == 0:
        raise ArtifactError(
            f"{len(images)} self-test images for {len(expected)} rows of logits",
            where=artifact.selftest.images,
            remedy="Export the artifact again.",
        )
    difference = float(np.abs(softmax(engine.infer(images)) - softmax(expected)).max())
    if not difference <= artifact.selftest.tolerance:  # also true for NaN
        raise ArtifactError(
            f"the self-test differs by {difference:.2g} in probability from what was trained; "
            f"{artifact.selftest.tolerance:g} is allowed",
            where=artifact.engines["f32"].model,
            remedy="Export the artifact again; if it persists, this processor computes something else.",
        )
    return difference


def _load_array(path: Path, row_shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ArtifactError(
            "the array cannot be read", where=path, remedy="Export the artifact again."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape[1:] != row_shape:
        raise ArtifactError(
            f"the array is not float32 (N, {', '.join(map(str, row_shape))})",
            where=path,
            remedy="Export the artifact again.",
        )
    return array
