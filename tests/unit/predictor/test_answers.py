"""An answer's content types, without a server: what `docs/http.md` promises."""

import csv
import io
import json

import numpy as np
import pytest

from predictor.answers import Answer, Inferred, encode_answer, negotiate
from predictor.artifact import BreedClass
from predictor.codecs import NotAcceptableError, RequestError

NPY = "application/x-npy"
INVALID_QUALITIES = ("much", "", "nan", "inf", "1e400", "1e-1", "-0.5", "1.001", "7", "1_0", "٠")
CLASSES = tuple(BreedClass(f"{number:03}.Breed", f"Breed {number}") for number in range(1, 8))
LOGITS = np.array([0, 1, 2, 3, 4, 5, 6], np.float32)
TWO_OF_THREE = (LOGITS, RequestError("picture 1: the picture is damaged, or cut off"), -LOGITS)


def _answer(*outcomes: np.ndarray | RequestError, top_k: int = 5, probabilities: bool = False) -> Answer:
    inferred = [each if isinstance(each, RequestError) else Inferred(each) for each in outcomes]
    return Answer(inferred, CLASSES, version="0123456789ab", top_k=top_k, probabilities=probabilities)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/x-npy", NPY),
        ("application/x-npy, */*;q=0.1", NPY),
        ("application/json;q=0.2, application/x-npy;q=0.7", NPY),
        ("application/x-npy, application/json", NPY),
        ("text/html, application/json;q=0", None),
        ("*/*, application/json;q=0", NPY),
        ("text/html", None),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "application/json"),
        *((f"application/json;q={quality}", None) for quality in INVALID_QUALITIES),
        *(
            (f"{NPY};q={quality}, application/json;q=0.1", "application/json")
            for quality in INVALID_QUALITIES
        ),
        *((f"application/json;q={quality}, */*;q=0.1", "application/json") for quality in INVALID_QUALITIES),
        ("json", None),
        ("application/jsonlines", "application/jsonlines"),
        ("text/*", "text/csv"),
    ],
)
def test_the_answers_type_is_negotiated(accept: str | None, chosen: str | None) -> None:
    if chosen is None:
        with pytest.raises(NotAcceptableError):
            negotiate(accept)
    else:
        assert negotiate(accept) == chosen


def test_the_json_answer_ranks_the_most_probable_classes_and_names_the_models_version() -> None:
    body, content_type = encode_answer(_answer(LOGITS), None)
    (prediction,) = json.loads(body)["predictions"]
    assert content_type == "application/json"
    assert [guess["label"] for guess in prediction["top"]] == [f"Breed {n}" for n in (7, 6, 5, 4, 3)]
    assert prediction["top"][0]["name"] == "007.Breed"
    expected = np.exp(6) / np.exp(np.arange(7)).sum()
    assert prediction["top"][0]["probability"] == pytest.approx(expected, rel=1e-12)
    assert json.loads(body)["model"] == {"version": "0123456789ab"}


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (7, 7), (100, 7)])
def test_top_k_classes_are_named_as_far_as_there_are_any(asked: int, given: int) -> None:
    body, _ = encode_answer(_answer(LOGITS, top_k=asked), None)
    assert len(json.loads(body)["predictions"][0]["top"]) == given


def test_each_picture_has_its_own_answer_or_error() -> None:
    predictions = json.loads(encode_answer(_answer(*TWO_OF_THREE), None)[0])["predictions"]
    assert predictions[0]["top"][0]["name"] == "007.Breed"
    assert predictions[1] == {
        "error": {"code": "bad_request", "message": "picture 1: the picture is damaged, or cut off"}
    }
    assert predictions[2]["top"][0]["name"] == "001.Breed"


@pytest.mark.parametrize("accept", ["application/json", "application/jsonlines"])
def test_all_probabilities_stand_in_the_order_of_the_classes_where_they_are_asked_for(accept: str) -> None:
    body, _ = encode_answer(_answer(LOGITS, top_k=1, probabilities=True), accept)
    prediction = json.loads(body)
    (prediction,) = prediction.get("predictions", [prediction])
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum()
    assert prediction["probabilities"] == pytest.approx(expected.tolist(), rel=1e-6)
    assert prediction["probabilities"][-1] == prediction["top"][0]["probability"]


def test_nobody_who_did_not_ask_for_all_probabilities_gets_them() -> None:
    (prediction,) = json.loads(encode_answer(_answer(LOGITS), None)[0])["predictions"]
    assert list(prediction) == ["top"]


def test_json_lines_hold_the_predictions_of_the_json_answer() -> None:
    answer = _answer(*TWO_OF_THREE)
    body, content_type = encode_answer(answer, "application/jsonlines")
    assert content_type == "application/jsonlines"
    predictions = json.loads(encode_answer(answer, None)[0])["predictions"]
    assert [json.loads(line) for line in body.splitlines()] == predictions


def test_csv_has_a_line_for_each_picture() -> None:
    body, content_type = encode_answer(_answer(*TWO_OF_THREE, top_k=2), "text/csv")
    assert content_type == "text/csv"
    first, second, third = csv.reader(io.StringIO(body.decode()))
    probability = f"{np.exp(6) / np.exp(np.arange(7)).sum():.6f}"
    assert first[:3] == ["", "007.Breed", probability]
    assert second == ["bad_request", "picture 1: the picture is damaged, or cut off"]
    assert third[:3] == ["", "001.Breed", probability]
    assert len(first) == len(third) == 5


def test_the_npy_answer_is_the_raw_logits_and_nan_where_there_are_none() -> None:
    body, content_type = encode_answer(_answer(*TWO_OF_THREE), NPY)
    assert content_type == NPY
    logits = np.load(io.BytesIO(body), allow_pickle=False)
    assert (logits.dtype, logits.shape) == (np.float32, (3, 7))
    np.testing.assert_array_equal(logits, [LOGITS, np.full(7, np.nan), -LOGITS])
