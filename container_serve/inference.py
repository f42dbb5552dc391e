"""The endpoint's logic, in sagemaker-inference's convention: four functions over `predictor`.

Imported by sagemaker-inference's transformer in every worker of the model server (`SAGEMAKER_PROGRAM`).
"""

import contextlib
import os
from pathlib import Path
from typing import Any

from predictor.answers import PNG, Answer, encode_answer, negotiate
from predictor.codecs import Item, RequestError, decode_request, raise_only
from predictor.model import Model, load_model
from predictor.neighbours import Neighbours
from predictor.options import HEADER, Options
from predictor.settings import ServerSettings, engine_precision, is_batch, worker_threads
from predictor.stages import stage
from predictor.transformer import request_headers


def model_fn(model_dir: str) -> Model:
    """Load and check the model artifact in `model_dir`."""
    return load_model(
        Path(model_dir),
        threads=worker_threads(),
        precision=engine_precision(os.environ),
        neighbours=_neighbours(),
    )


def _neighbours() -> Neighbours | None:
    """The other workers, where there are any; of many models each is compiled once, to save memory."""
    settings = ServerSettings.from_environment(os.environ)
    return Neighbours.of_supervisor() if settings.workers > 1 and not settings.models_dir else None


def input_fn(input_data: bytes, content_type: str | None) -> list[Item | RequestError]:
    """Read a request's body: pictures as files or as arrays."""
    with stage("decode"):
        return decode_request(input_data, content_type)


def predict_fn(data: list[Item | RequestError], model: Model, context: Any) -> Answer:
    """Preprocess what is still a file, and infer."""
    headers = request_headers(context)
    options = Options.from_header(headers.get(HEADER))
    explain = options.explain or negotiate(headers.get("accept")) == PNG
    with model.neighbours.answering() if model.neighbours else contextlib.nullcontext():
        with stage("decode"):
            views = model.read(data)
            if not is_batch(os.environ):  # there one bad picture would fail the job of all the others
                raise_only(views)
        with stage("infer"):
            outcomes = model.infer(views, explain=explain, tta=options.tta)
    return Answer(
        outcomes,
        model.artifact.classes,
        version=model.version,
        top_k=options.top_k,
        probabilities=options.probabilities,
    )


def output_fn(prediction: Answer, accept: str | None) -> tuple[bytes, str]:
    """Write the answer in the type that the client accepts."""
    with stage("encode"):
        return encode_answer(prediction, accept)
