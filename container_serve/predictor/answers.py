"""The answer's content types, exactly as `docs/http.md` says.

Called by `inference.py`. A content type is added here and nowhere else.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from predictor.artifact import BreedClass
from predictor.codecs import JSON, JSON_LINES, NPY, NotAcceptableError, RequestError
from predictor.engine import Logits, softmax
from predictor.explanation import Explanation
from predictor.npy import write_npy
from predictor.ranking import Guess, rank

CSV = "text/csv"
PNG = "image/png"
_QUALITY = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)  # `.2` is what Java's own client sends


@dataclass(frozen=True)
class Inferred:
    """One picture's raw logits, float32 `(classes,)`, and why the best class is the best, where asked."""

    logits: Logits
    explanation: Explanation | None = None


# What came of one picture.
Outcome = Inferred | RequestError


@dataclass(frozen=True)
class Answer:
    """What is known of a request's pictures, in their order."""

    outcomes: Sequence[Outcome]
    classes: Sequence[BreedClass]
    version: str  # of the model
    top_k: int
    probabilities: bool = False  # of all classes as well

    def predictions(self) -> list[dict[str, object]]:
        """`{"top": […]}`, perhaps with more that was asked for, or `{"error": {…}}` of each picture."""
        return [
            {"error": {"code": each.code, "message": str(each)}}
            if isinstance(each, RequestError)
            else self._prediction(each)
            for each in self.outcomes
        ]

    def _prediction(self, inferred: Inferred) -> dict[str, object]:
        prediction: dict[str, object] = {"top": [vars(guess) for guess in self.guesses(inferred)]}
        if inferred.explanation:
            prediction["explanation"] = inferred.explanation.as_dict()
        if self.probabilities:
            prediction["probabilities"] = softmax(inferred.logits).tolist()
        return prediction

    def guesses(self, inferred: Inferred) -> list[Guess]:
        """The most probable classes of one picture, best first."""
        return rank(inferred.logits[np.newaxis], self.classes, count=self.top_k)[0]


def encode_answer(answer: Answer, accept: str | None) -> tuple[bytes, str]:
    """The body in the best type that `accept` offers, and that type.

    Raises `NotAcceptableError` when it offers none.
    """
    content_type = negotiate(accept)
    return _ENCODERS[content_type](answer), content_type


def _encode_json(answer: Answer) -> bytes:
    content = {"predictions": answer.predictions(), "model": {"version": answer.version}}
    return json.dumps(content).encode()


def _encode_lines(answer: Answer) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in answer.predictions())


def _encode_csv(answer: Answer) -> bytes:
    """A line a picture: nothing, then names and probabilities in turn; or an error's code and message."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for outcome in answer.outcomes:
        if isinstance(outcome, RequestError):
            writer.writerow([outcome.code, str(outcome)])
        else:
            guesses = answer.guesses(outcome)
            writer.writerow(
                ["", *(field for each in guesses for field in (each.name, f"{each.probability:.6f}"))]
            )
    return text.getvalue().encode()


def _encode_npy(answer: Answer) -> bytes:
    """Raw logits, float32 `(N, classes)`; a row of NaN for a picture that has none."""
    missing = np.full(len(answer.classes), np.nan, np.float32)
    rows = [missing if isinstance(each, RequestError) else each.logits for each in answer.outcomes]
    return write_npy(np.stack(rows))


def _encode_png(answer: Answer) -> bytes:
    """What the network saw of the only picture, with what speaks for its best class over it."""
    if len(answer.outcomes) != 1:
        raise RequestError(f"{PNG} is the answer to one picture; the request holds {len(answer.outcomes)}")
    (outcome,) = answer.outcomes
    if isinstance(outcome, RequestError):
        raise outcome
    if outcome.explanation is None:
        raise RequestError(f"{PNG} shows the explanation, which was not asked for")
    return outcome.explanation.overlay()


_ENCODERS: dict[str, Callable[[Answer], bytes]] = {
    JSON: _encode_json,
    NPY: _encode_npy,
    JSON_LINES: _encode_lines,
    CSV: _encode_csv,
    PNG: _encode_png,
}


def negotiate(accept: str | None) -> str:
    """Choose the answer's media type by RFC 9110, section 12.5.1; JSON where the client does not mind.

    Raises `NotAcceptableError` when none is offered.
    """
    if accept is None or not accept.strip():
        return JSON
    ranges = [found for text in accept.split(",") if (found := _media_range(text))]
    offers = [(media_type, *_offer(media_type, ranges)) for media_type in _ENCODERS]
    media_type, quality, _ = max(offers, key=lambda offer: (offer[1], -offer[2]))
    if quality <= 0:
        raise NotAcceptableError(f"the Accept header must offer one of {', '.join(_ENCODERS)}")
    return media_type


def _media_range(text: str) -> tuple[str, float] | None:
    """A media range and its quality; None for a range whose quality is not a number from 0 to 1."""
    media_type, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            if not _QUALITY.fullmatch(value.strip()) or float(value) > 1:
                return None
            quality = float(value)
    return media_type, quality


def _offer(media_type: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """The quality of the most specific range that covers the type, and the range's place."""
    for pattern in (media_type, media_type.split("/", maxsplit=1)[0] + "/*", "*/*"):
        for place, (offered, quality) in enumerate(ranges):
            if offered == pattern:
                return quality, place
    return 0.0, len(ranges)
