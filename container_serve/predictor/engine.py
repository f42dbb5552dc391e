"""The OpenVINO engine: compiles the artifact's network and infers with it.

Called by `predictor.model`. Pictures are inferred one by one on a network compiled for one picture:
measured as fast as batches, and a picture's answer cannot depend on its neighbours.
"""

import functools
import queue
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from predictor.artifact import Artifact, ArtifactError, EngineFiles
from predictor.explanation import LinearHead, Map, expose_head

Logits = NDArray[np.float32]
# Pixels as decoded, uint8 `(S, S, 3)` RGB, or a normalised image, float32 `(3, S, S)`.
Image = NDArray[np.uint8] | NDArray[np.float32]

_BF16_TOLERANCE = 0.05  # in probability, of the f32 network computed in bf16


class Engine:
    """A compiled network; may be asked from as many threads as there are streams.

    `precision` is the one in use, `int8`, `bf16` or `f32`; `threads` those of all streams together.
    """

    def __init__(
        self, artifact: Artifact, *, threads: int, streams: int = 1, precision: str | None = None
    ) -> None:
        """Compile for `streams` parallel requests on `threads` threads in all.

        `precision` is the artifact's own choice unless told otherwise. Raises `ArtifactError` for one that
        the artifact or this processor does not have.
        """
        self.precision = precision or artifact.precision
        self.threads = threads
        self._classes = len(artifact.classes)
        statistics = (artifact.preprocessing.mean, artifact.preprocessing.std)
        self._mean, self._std = (np.array(each, dtype=np.float32) * np.float32(255) for each in statistics)
        compiled, self._head = _compile(artifact, precision=self.precision, threads=threads, streams=streams)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    @property
    def explainable(self) -> bool:
        """Whether there are maps: the network ends in pooling and a linear layer."""
        return self._head is not None

    def infer(self, images: Sequence[Image]) -> Logits:
        """Images of either kind, as many as there are, to raw logits, float32 `(N, classes)`."""
        logits = np.empty((len(images), self._classes), dtype=np.float32)
        for row, request in enumerate(self._each(images)):
            logits[row] = request.get_output_tensor(0).data[0]
        return logits

    def explain(self, images: Sequence[Image]) -> tuple[Logits, list[Map]]:
        """The same logits, and one map a class of each image, float32 `(classes, h, w)`.

        A map's mean is the logit; in int8 to its precision. Raises `ValueError` where
        it is not `explainable`.
        """
        if self._head is None:
            raise ValueError("the network does not end in pooling and a linear layer")
        logits, maps = np.empty((len(images), self._classes), dtype=np.float32), []
        for row, request in enumerate(self._each(images)):
            logits[row] = request.get_output_tensor(0).data[0]
            maps.append(self._head.maps(request.get_output_tensor(1).data[0]))
        return logits, maps

    def _each(self, images: Iterable[Image]) -> Iterator[Any]:
        """Infer one image after the other, and hand out what holds its outputs until the next."""
        request = self._requests.get()
        try:
            for image in images:
                request.infer([self.pixels(image)[np.newaxis]], share_inputs=True)
                yield request
        finally:
            self._requests.put(request)

    def pixels(self, image: Image) -> NDArray[np.float32]:
        """An image of either kind as the network takes it, float32 `(S, S, 3)` from 0 to 255."""
        if image.dtype == np.float32:
            image = image.transpose(1, 2, 0) * self._std + self._mean
        return np.ascontiguousarray(image, dtype=np.float32)


@functools.cache
def _core() -> Any:
    """The process's one `openvino.Core`; two that go in the order they came break the handling of signals."""
    return openvino.Core()


def engine_files(artifact: Artifact, precision: str) -> EngineFiles:
    """The network that is computed in `precision`; bf16 is the f32 one. Raises `ArtifactError`."""
    name = "f32" if precision == "bf16" else precision
    if name not in artifact.engines:
        known = ", ".join([*artifact.engines, "bf16"])
        raise ArtifactError(
            f"the artifact has no engine for the precision {precision!r}, only for {known}",
            where=artifact.folder,
            remedy="Choose one of these, or none: then it is the artifact's own choice.",
        )
    return artifact.engines[name]


def _compile(
    artifact: Artifact, *, threads: int, streams: int, precision: str = "f32"
) -> tuple[Any, LinearHead | None]:
    files, core = engine_files(artifact, precision), _core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ArtifactError(
            "this processor does not compute in bf16",
            where=files.model,
            remedy="Choose another precision, or none: then it is the artifact's own choice.",
        )
    try:
        network = _read_network(core, artifact, files)
        head = expose_head(core, network)
        compiled = core.compile_model(
            _with_preprocessing(network, artifact),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",  # never a guess
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": streams,
                "ENABLE_CPU_PINNING": False,  # pinned workers would all sit on the first CPU
            },
        )
        return compiled, head
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ArtifactError(
            f"OpenVINO cannot read the network: {reason}",
            where=files.model,
            remedy="Export the artifact again.",
        ) from error


def _read_network(core: Any, artifact: Artifact, files: EngineFiles) -> Any:
    """The network for one picture, which answers one row of logits."""
    network = core.read_model(files.model, files.weights)
    network.reshape({artifact.input_name: [1, *artifact.input_shape]})
    expected = [1, len(artifact.classes)]
    if list(network.output(0).shape) != expected:
        raise ArtifactError(
            f"the network answers {list(network.output(0).shape)} instead of {expected}",
            where=files.model,
            remedy="Export the artifact again.",
        )
    return network


def _with_preprocessing(network: Any, artifact: Artifact) -> Any:
    """The network for pixels from 0 to 255 as float32 `(1, S, S, 3)`.

    Not for uint8: so one compiled network also takes normalised images, which are brought back to pixels.
    """
    size = artifact.preprocessing
    stages = openvino.preprocess.PrePostProcessor(network)
    stages.input().tensor().set_element_type(openvino.Type.f32).set_layout(openvino.Layout("NHWC"))
    stages.input().model().set_layout(openvino.Layout("NCHW"))
    steps = stages.input().preprocess()
    steps.mean([255 * mean for mean in size.mean]).scale([255 * std for std in size.std])
    return stages.build()


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities along the last axis, in double precision."""
    wide = logits.astype(np.float64)
    shifted = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def run_selftest(engine: Engine, artifact: Artifact) -> float:
    """Infer the stored images and return the largest difference in probability from the stored logits.

    They are those of the precision in use. Raises `ArtifactError` above their tolerance.
    """
    files = engine_files(artifact, engine.precision)
    selftest = files.selftest
    tolerance = max(selftest.tolerance, _BF16_TOLERANCE if engine.precision == "bf16" else 0)
    images = _load_array(selftest.images, artifact.input_shape)
    expected = _load_array(selftest.logits, (len(artifact.classes),))
    if len(images) != len(expected) or len(images) == 0:
        raise ArtifactError(
            f"{len(images)} self-test images for {len(expected)} rows of logits",
            where=selftest.images,
            remedy="Export the artifact again.",
        )
    difference = float(np.abs(softmax(engine.infer(list(images))) - softmax(expected)).max())
    if not difference <= tolerance:  # also true for NaN
        raise ArtifactError(
            f"the self-test differs by {difference:.2g} in probability from what was trained; "
            f"{tolerance:g} is allowed",
            where=files.model,
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
