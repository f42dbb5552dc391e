"""A loaded model: the checked artifact and its engine, from pictures to logits.

Called by `inference.py` under the model server and by `predictor.offline`: one path, so that the
endpoint's and `predict`'s answers agree.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.answers import Outcome
from predictor.artifact import DESCRIPTION, Artifact, read_artifact
from predictor.codecs import Item, RequestError, TooLargeError, raise_only
from predictor.engine import Engine, Logits, run_selftest, softmax
from predictor.images import PictureError, PictureTooLargeError, load_picture


@dataclass(frozen=True)
class Model:
    """An artifact, the engine compiled from it, and the first digits of its description's SHA-256."""

    artifact: Artifact
    engine: Engine

    version: str

    def read(self, items: Sequence[Item | RequestError]) -> list[NDArray[np.float32] | RequestError]:
        """The network's input for each picture, float32 `(3, S, S)`, or why there is none.

        Raises `RequestError` for the only picture of a request.
        """
        inputs = [
            item if isinstance(item, RequestError) else self._read(index, item)
            for index, item in enumerate(items)
        ]
        raise_only(inputs)
        return inputs

    def infer(
        self, inputs: Sequence[NDArray[np.float32] | RequestError], *, tta: bool = False
    ) -> list[Outcome]:
        """Raw logits of each picture, float32 `(classes,)`, or why it has none.

        With `tta` they stand for the mean of the probabilities of the picture and its mirror image.
        """
        images = [each for each in inputs if not isinstance(each, RequestError)]
        rows = iter(self._infer(np.stack(images), tta=tta) if images else ())
        return [each if isinstance(each, RequestError) else next(rows) for each in inputs]

    def _infer(self, images: NDArray[np.float32], *, tta: bool) -> Logits:
        logits = self.engine.infer(images)
        if not tta:
            return logits
        mirrored = self.engine.infer(images[..., ::-1])
        mean = (softmax(logits) + softmax(mirrored)) / 2
        averaged: Logits = np.log(mean.clip(np.finfo(np.float64).tiny)).astype(np.float32)
        return averaged

    def _read(self, index: int, item: Item) -> NDArray[np.float32] | RequestError:
        if isinstance(item, np.ndarray):
            if item.shape != self.artifact.input_shape:
                shape = ", ".join(map(str, self.artifact.input_shape))
                found = ", ".join(map(str, item.shape))
                return RequestError(f"picture {index} has the shape ({found}); the model takes ({shape})")
            return item
        try:
            return load_picture(io.BytesIO(item), self.artifact.preprocessing)
        except PictureTooLargeError as error:
            return TooLargeError(f"picture {index}: {error}")
        except PictureError as error:
            return RequestError(f"picture {index}: {error}")


def load_model(folder: Path, *, threads: int, streams: int = 1, precision: str | None = None) -> Model:
    """Check the artifact in `folder`, compile it in its own or the given precision, and run its self-test.

    Raises `ArtifactError` when it cannot be served.
    """
    artifact = read_artifact(folder)
    engine = Engine(artifact, threads=threads, streams=streams, precision=precision)
    run_selftest(engine, artifact)
    digest = hashlib.sha256((folder / DESCRIPTION).read_bytes()).hexdigest()
    return Model(artifact, engine, version=digest[:12])
