"""A loaded model: the checked artifact and its engine, from pictures to logits.

Called by `inference.py` under the model server and by `predictor.offline`: one path, so that the
endpoint's and `predict`'s answers agree.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.answers import Inferred, Outcome
from predictor.artifact import DESCRIPTION, Artifact, read_artifact
from predictor.codecs import Item, RequestError, TooLargeError
from predictor.engine import Engine, Image, Logits, run_selftest, softmax
from predictor.explanation import Explanation, Map
from predictor.images import PictureError, PictureTooLargeError, View, count_pixels, load_view
from predictor.neighbours import Neighbours

NOT_EXPLAINABLE = "this model cannot be explained: its network does not end in pooling and a linear layer"

MAX_REQUEST_PIXELS = 200_000_000  # of all pictures of a request; 64 photographs of 3 megapixels


@dataclass(frozen=True)
class Model:
    """An artifact, the engine compiled from it, and the first digits of its description's SHA-256.

    `narrow` is the same engine with one thread, for when the neighbours need the other CPUs. Both give the
    same logits, to the last bit.
    """

    artifact: Artifact
    engine: Engine

    version: str
    narrow: Engine | None = None
    neighbours: Neighbours | None = None

    def read(self, items: Sequence[Item | RequestError]) -> list[View | RequestError]:
        """What the network looks at of each picture, or why there is nothing."""
        return [
            item if isinstance(item, RequestError) else self._read(index, item)
            for index, item in enumerate(_within_budget(items))
        ]

    def infer(
        self, views: Sequence[View | RequestError], *, explain: bool = False, tta: bool = False
    ) -> list[Outcome]:
        """What the model answers for each picture, or why nothing.

        With `tta` the logits stand for the mean of the probabilities of the picture and its mirror image; the
        explanation is of the picture alone. Raises `RequestError` where the network cannot be explained.
        """
        if explain and not self.engine.explainable:
            raise RequestError(NOT_EXPLAINABLE)
        seen = [each for each in views if not isinstance(each, RequestError)]
        inferred = iter(self.infer_views(seen, explain=explain, tta=tta))
        return [each if isinstance(each, RequestError) else next(inferred) for each in views]

    def infer_views(
        self, views: Sequence[View], *, explain: bool = False, tta: bool = False
    ) -> list[Inferred]:
        """The same where nothing went wrong before."""
        images, engine = [view.pixels for view in views], self._engine_now()
        logits, maps = engine.explain(images) if explain else (engine.infer(images), [])
        if tta:
            logits = _averaged(logits, engine.infer([_mirrored(image) for image in images]))
        if not explain:
            return [Inferred(row) for row in logits]
        return [
            Inferred(row, self._explanation(view, of_classes, best=int(row.argmax())))
            for row, view, of_classes in zip(logits, views, maps, strict=True)
        ]

    def _engine_now(self) -> Engine:
        """The engine with all its threads, unless the other workers are busy."""
        if self.narrow and self.neighbours and not self.neighbours.leave_room(self.engine.threads):
            return self.narrow
        return self.engine

    def _explanation(self, view: View, of_classes: Map, *, best: int) -> Explanation:
        pixels = self.engine.pixels(view.pixels).round().clip(0, 255).astype(np.uint8)
        return Explanation(self.artifact.classes[best].name, of_classes[best], pixels, view.box)

    def _read(self, index: int, item: Item) -> View | RequestError:
        if isinstance(item, np.ndarray):
            return self._check(index, item)
        try:
            return load_view(io.BytesIO(item), self.artifact.preprocessing)
        except PictureTooLargeError as error:
            return TooLargeError(f"picture {index}: {error}")
        except PictureError as error:
            return RequestError(f"picture {index}: {error}")

    def _check(self, index: int, array: Image) -> View | RequestError:
        colours, height, width = self.artifact.input_shape
        wanted = (height, width, colours) if array.dtype == np.uint8 else (colours, height, width)
        if array.shape != wanted:
            return RequestError(
                f"picture {index} has the shape ({', '.join(map(str, array.shape))}); "
                f"the model takes ({', '.join(map(str, wanted))}) in {array.dtype}"
            )
        return View(array, (0, 0, width, height))


def _within_budget(items: Sequence[Item | RequestError]) -> Iterator[Item | RequestError]:
    """The items, or an error for those beyond `MAX_REQUEST_PIXELS`: a worker has a minute for all of them."""
    left = MAX_REQUEST_PIXELS
    for index, item in enumerate(items):
        if len(items) > 1 and isinstance(item, bytes | bytearray):
            left -= count_pixels(item)
        if left < 0:
            yield TooLargeError(
                f"picture {index}: those up to it have more than {MAX_REQUEST_PIXELS:,} pixels together; "
                "send fewer at a time"
            )
        else:
            yield item


def _averaged(logits: Logits, mirrored: Logits) -> Logits:
    """Logits whose softmax is the mean of both's."""
    mean = (softmax(logits) + softmax(mirrored)) / 2
    averaged: Logits = np.log(mean.clip(np.finfo(np.float64).tiny)).astype(np.float32)
    return averaged


def _mirrored(image: Image) -> Image:
    return image[:, ::-1] if image.dtype == np.uint8 else image[..., ::-1]


def load_model(
    folder: Path,
    *,
    threads: int,
    streams: int = 1,
    precision: str | None = None,
    neighbours: Neighbours | None = None,
) -> Model:
    """Check the artifact in `folder`, compile it in its own or the given precision, and run its self-test.

    With `neighbours` it infers with `threads` only while they leave room, else with one. Raises
    `ArtifactError` when it cannot be served.
    """
    artifact = read_artifact(folder)
    engine = Engine(artifact, threads=threads, streams=streams, precision=precision)
    run_selftest(engine, artifact)
    narrow = None
    if neighbours and threads > 1:
        narrow = Engine(artifact, threads=1, precision=precision)
        run_selftest(narrow, artifact)
    digest = hashlib.sha256((folder / DESCRIPTION).read_bytes()).hexdigest()
    return Model(artifact, engine, version=digest[:12], narrow=narrow, neighbours=neighbours)
