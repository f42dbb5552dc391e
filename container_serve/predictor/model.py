"""A loaded model: the checked artifact and its engine, from pictures to logits.

Called by `inference.py` under the model server and by `predictor.offline`: one path, so that the
endpoint's and `predict`'s answers agree.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.artifact import Artifact, read_artifact
from predictor.codecs import Item, RequestError, TooLargeError
from predictor.engine import Engine, Logits, run_selftest
from predictor.images import PictureError, PictureTooLargeError, load_picture


@dataclass(frozen=True)
class Model:
    """An artifact and the engine compiled from it."""

    artifact: Artifact
    engine: Engine

    def read(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """The network's input, float32 `(N, 3, S, S)`, for the pictures of one request.

        Raises `RequestError` for a picture that cannot be read or an array of another shape.
        """
        return np.stack([self._input(index, item) for index, item in enumerate(items)])

    def infer(self, images: NDArray[np.float32]) -> Logits:
        """Raw logits, float32 `(N, classes)`, for normalised images `(N, 3, S, S)`."""
        return self.engine.infer(images)

    def _input(self, index: int, item: Item) -> NDArray[np.float32]:
        if isinstance(item, np.ndarray):
            if item.shape != self.artifact.input_shape:
                shape = ", ".join(map(str, self.artifact.input_shape))
                found = ", ".join(map(str, item.shape))
                raise RequestError(f"picture {index} has the shape ({found}); the model takes ({shape})")
            return item
        try:
            return load_picture(io.BytesIO(item), self.artifact.preprocessing)
        except PictureTooLargeError as error:
            raise TooLargeError(f"picture {index}: {error}") from error
        except PictureError as error:
            raise RequestError(f"picture {index}: {error}") from error


def load_model(folder: Path, *, threads: int, streams: int = 1, precision: str | None = None) -> Model:
    """Check the artifact in `folder`, compile it in its own or the given precision, and run its self-test.

    Raises `ArtifactError` when it cannot be served.
    """
    artifact = read_artifact(folder)
    engine = Engine(artifact, threads=threads, streams=streams, precision=precision)
    run_selftest(engine, artifact)
    return Model(artifact, engine)
