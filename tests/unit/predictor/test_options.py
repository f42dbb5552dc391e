"""`X-Amzn-SageMaker-Custom-Attributes`: what it may hold, and what it changes."""

import base64
import io
import json
from pathlib import Path

import jmespath
import numpy as np
import pytest
from running_server import RunningServer

from launcher import clarify_requests
from launcher.account import Account
from launcher.settings import Settings
from predictor.codecs import RequestError
from predictor.engine import softmax
from predictor.images import load_view
from predictor.model import load_model
from predictor.options import Options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (None, Options()),
        ("", Options()),
        ("top_k=3", Options(top_k=3)),
        (" top_k = 3 ; tta=TRUE ", Options(top_k=3, tta=True)),
        ("tta=false,top_k=1", Options(top_k=1)),
        ("probabilities=true", Options(probabilities=True)),
        ("c000b4f9-df62-4c85-a0bf-7c525f9104a4", Options()),
        ("a-trace-id,top_k=2", Options(top_k=2)),
    ],
)
def test_options_are_read_and_identifiers_are_left_alone(text: str | None, options: Options) -> None:
    assert Options.from_header(text) == options


@pytest.mark.parametrize(
    "text", ["top_k=0", "top_k=-1", "top_k=x", "top_k=", "top_k=1e9", "top_k=٣", "tta=1", "probabilities=all"]
)
def test_a_value_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=text.partition("=")[0]):
        Options.from_header(text)


def test_an_unknown_option_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(RequestError, match="no option 'topk'; there are top_k, explain, tta, probabilities"):
        Options.from_header("topk=3")


def test_a_client_chooses_how_many_classes_it_gets(server: RunningServer, jpeg: bytes) -> None:
    answer = server.ask(jpeg, Content_Type="image/jpeg", X_Amzn_SageMaker_Custom_Attributes="top_k=2")
    assert len(answer.json()["predictions"][0]["top"]) == 2
    refused = server.ask(jpeg, Content_Type="image/jpeg", X_Amzn_SageMaker_Custom_Attributes="top_k=all")
    assert (refused.status, refused.json()["error"]["code"]) == (400, "bad_request")


def test_what_clarify_sends_is_answered_with_what_it_looks_for(
    server: RunningServer, base_folder: Path, jpeg: bytes
) -> None:
    classes = load_model(base_folder / "model", threads=1).artifact.classes
    account = Account(Settings(account="123456789012", region="eu-central-1"))
    labels = [each.label for each in classes]
    asks = clarify_requests.analysis(account, model="why", classes=labels, form="jpeg")["predictor"]
    header = {"Accept": asks["accept_type"], "X_Amzn_SageMaker_Custom_Attributes": asks["custom_attributes"]}
    answer = server.ask(jpeg, Content_Type=asks["content_type"], **header).json()
    scores = jmespath.search(asks["probability"], answer)
    assert len(scores) == len(classes)
    assert sum(scores) == pytest.approx(1)
    assert classes[scores.index(max(scores))].name == answer["predictions"][0]["top"][0]["name"]


def test_with_tta_the_mirror_image_has_its_say(server: RunningServer, base_folder: Path, jpeg: bytes) -> None:
    model = load_model(base_folder / "model", threads=1)
    pixels = load_view(io.BytesIO(jpeg), model.artifact.preprocessing).pixels
    both = softmax(model.engine.infer([pixels, pixels[:, ::-1]]))
    header = {"X_Amzn_SageMaker_Custom_Attributes": "tta=true", "Accept": "application/x-npy"}
    answer = server.ask(jpeg, Content_Type="image/jpeg", **header)
    logits = np.load(io.BytesIO(answer.body), allow_pickle=False)
    np.testing.assert_allclose(softmax(logits), both.mean(axis=0, keepdims=True), atol=1e-6)
    assert np.abs(both[0] - both[1]).max() > 1e-3  # the two are not the same to begin with


def test_one_bad_picture_among_eight_gives_seven_answers_and_one_error(
    server: RunningServer, jpeg: bytes
) -> None:
    instances = [
        {"b64": base64.b64encode(jpeg if number != 5 else b"no picture").decode()} for number in range(8)
    ]
    answer = server.ask(json.dumps({"instances": instances}).encode(), Content_Type="application/json")
    assert answer.status == 200
    predictions = answer.json()["predictions"]
    assert [next(iter(each)) for each in predictions] == ["top"] * 5 + ["error"] + ["top"] * 2
    assert predictions[5]["error"]["code"] == "bad_request"
    assert predictions[5]["error"]["message"].startswith("picture 5: ")


def test_a_batch_of_nothing_but_bad_pictures_is_answered_too(server: RunningServer) -> None:
    answer = server.ask(b'{"b64": "eA=="}\n{"b64": "eA=="}', Content_Type="application/jsonlines")
    assert answer.status == 200
    assert [list(each) for each in answer.json()["predictions"]] == [["error"], ["error"]]
