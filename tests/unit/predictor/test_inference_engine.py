"""The engine, and the functions of `inference.py` over it."""

import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running_server import CODE
from tiny_artifact import SIZE

from predictor.codecs import RequestError
from predictor.engine import softmax
from predictor.model import Model, load_model


@pytest.fixture(scope="module")
def model(base_folder: Path) -> Model:
    return load_model(base_folder / "model", threads=1, streams=2)


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_a_picture_is_answered_alike_alone_and_among_others(model: Model, count: int) -> None:
    images = np.random.default_rng(count).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)
    together = model.engine.infer(list(images))
    alone = np.concatenate([model.engine.infer([images[i]]) for i in range(count)])
    assert together.shape == (count, 6)
    assert np.abs(softmax(together) - softmax(alone)).max() <= 1e-4


def test_threads_that_share_the_engine_get_their_own_answers(model: Model) -> None:
    images = np.random.default_rng(5).normal(size=(8, 3, SIZE, SIZE)).astype(np.float32)
    expected, found = model.engine.infer(list(images)), {}

    def infer(index: int) -> None:
        found[index] = [model.engine.infer([images[index]]) for _ in range(20)]

    threads = [threading.Thread(target=infer, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, answers in found.items():
        for answer in answers:
            np.testing.assert_allclose(answer[0], expected[index], atol=1e-5)


def test_the_network_is_compiled_in_full_precision_on_the_threads_given(base_folder: Path) -> None:
    from predictor.artifact import read_artifact
    from predictor.engine import _compile

    compiled, _ = _compile(read_artifact(base_folder / "model"), threads=1, streams=1)
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_an_array_of_another_size_is_refused_with_both_shapes(model: Model) -> None:
    (refusal,) = model.read([np.zeros((3, 32, 32), np.float32)])

    assert isinstance(refusal, RequestError)
    assert "shape (3, 32, 32); the model takes (3, 224, 224) in float32" in str(refusal)


def test_softmax_stands_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000, 1000, -1000]], np.float32)), [[0.5, 0.5, 0]])


@pytest.fixture
def user_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(CODE))
    import inference

    return inference


def test_the_four_functions_answer_a_request(user_module: Any, base_folder: Path, jpeg: bytes) -> None:
    from mms.context import Context, RequestProcessor

    context = Context("model", str(base_folder), None, 1, None, "1.1.11")
    context.request_processor = [RequestProcessor({"Content-Type": "image/jpeg"})]
    model = user_module.model_fn(str(base_folder / "model"))
    data = user_module.input_fn(jpeg, "image/jpeg")
    prediction = user_module.predict_fn(data, model, context)
    body, content_type = user_module.output_fn(prediction, "application/json")
    assert content_type == "application/json"
    assert len(json.loads(body)["predictions"][0]["top"]) == 5


def test_a_request_that_fails_inside_gets_json_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from mms.context import Context, RequestProcessor

    from predictor.transformer import BreedTransformer

    (tmp_path / "broken_inference.py").write_text(
        "def model_fn(model_dir): return 'model'\n"
        "def input_fn(data, content_type): return data\n"
        "def predict_fn(data, model): raise KeyError('/secret/path')\n"
        "def output_fn(prediction, accept): return prediction, accept\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "broken_inference.py")
    context = Context("model", str(tmp_path), None, 1, None, "1.1.11")
    context.request_ids = {0: "request-7"}
    context.request_processor = [RequestProcessor({"Content-Type": "image/jpeg", "x-request-id": "front-7"})]
    transformer = BreedTransformer()
    transformer.validate_and_initialize(model_dir=str(tmp_path), context=context)
    (body,) = transformer.transform([{"body": b"x"}], context)
    assert context.get_response_status(0)[0] == 500
    assert context.get_response_content_type(0) == "application/json"
    error = json.loads(body)["error"]
    assert error["code"] == "internal"
    assert "front-7" in error["message"]  # the id that the front server passes on and logs
    assert "secret" not in error["message"]


def test_a_worker_imports_neither_scipy_nor_boto3_nor_torch() -> None:
    program = "import sys, handler_service, inference, mms.model_service_worker;"
    program += "print(*{'scipy', 'boto3', 'torch', 'openvino'} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=CODE, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["openvino"]


def test_real_photographs_are_decoded_like_pil_and_torchvision(dogs: Path, model: Model) -> None:
    from torchvision import transforms

    from predictor.images import load_view

    pre = model.artifact.preprocessing
    reference = transforms.Compose([transforms.Resize(pre.resize), transforms.CenterCrop(pre.crop)])
    for file in sorted((dogs / "test").glob("*/*.jpg"))[::120]:
        with Image.open(file) as image:
            expected = np.asarray(reference(image.convert("RGB")), dtype=int)
        found = load_view(io.BytesIO(file.read_bytes()), pre).pixels
        assert np.abs(found - expected).max() <= 1
