"""Our engine as a function: what the Python servers beside this file put behind HTTP.

`RIVAL_MODEL` is the artifact's folder, `RIVAL_THREADS` the engine's threads in each worker. Run in the
rivals' environment, with container_serve on PYTHONPATH.
"""

import argparse
import os
from pathlib import Path

from predictor.codecs import RequestError
from predictor.model import Model, load_model
from predictor.ranking import rank


def load() -> Model:
    """Load the model in this process."""
    return load_model(Path(os.environ["RIVAL_MODEL"]), threads=int(os.environ["RIVAL_THREADS"]))


def answer(model: Model, body: bytes) -> dict[str, float]:
    """One picture file's five most probable classes."""
    (inferred,) = model.infer(model.read([body]))
    if isinstance(inferred, RequestError):
        raise inferred
    (guesses,) = rank(inferred.logits[None], model.artifact.classes, count=5)
    return {guess.name: guess.probability for guess in guesses}


def parse(description: str | None) -> argparse.Namespace:
    """The command line of either server."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    return parser.parse_args()
