"""The endpoint's logic, in sagemaker-inference's convention: four functions over `predictor`.

Imported by sagemaker-inference's transformer in every worker of the model server (`SAGEMAKER_PROGRAM`).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from predictor.artifact import Artifact
from predictor.codecs import Item, decode_request, encode_answer
from predictor.engine import Logits
from predictor.model import Model, load_model
from predictor.settings import engine_precision, worker_threads
from predictor.stages import stage


@dataclass(frozen=True)
class Prediction:
    """What `predict_fn` hands to `output_fn`: logits `(N, classes)` and whose they are."""

    artifact: Artifact
    logits: Logits


def model_fn(model_dir: str) -> Model:
    """Load and check the model artifact in `model_dir`."""
    return load_model(Path(model_dir), threads=worker_threads(), precision=engine_precision(os.environ))


def input_fn(input_data: bytes, content_type: str | None) -> list[Item]:
    """Read a request's body: pictures as files or as normalised arrays."""
    with stage("decode"):
        return decode_request(input_data, content_type)


def predict_fn(data: list[Item], model: Model) -> Prediction:
    """Preprocess what is still a file, and infer."""
    with stage("decode"):
        images = model.read(data)
    with stage("infer"):
        return Prediction(model.artifact, model.infer(images))


def output_fn(prediction: Prediction, accept: str | None) -> tuple[bytes, str]:
    """Write the answer in the type that the client accepts."""
    with stage("encode"):
        return encode_answer(prediction.logits, prediction.artifact.classes, accept)
