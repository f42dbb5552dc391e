"""Where the network looked: exact, in its place, and refused where there is nothing to show."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_server import CODE, RunningServer, command_environment
from tiny_artifact import CLASSES, SIZE, write_explainable_artifact

from predictor.engine import softmax
from predictor.explanation import Explanation
from predictor.model import Model, load_model

EXPLAIN = {"Content_Type": "image/jpeg", "X_Amzn_SageMaker_Custom_Attributes": "explain=true"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("opt-ml")
    write_explainable_artifact(base / "model")
    return base


@pytest.fixture(scope="module")
def model(base: Path) -> Model:
    return load_model(base / "model", threads=1)


@pytest.fixture(scope="module")
def explaining(base: Path) -> Iterator[RunningServer]:
    with RunningServer(base, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_until_ready()
        yield running


def test_the_mean_of_each_map_is_the_logit_of_its_class(model: Model) -> None:
    images = list(np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8))
    logits, maps = model.engine.explain(images)

    np.testing.assert_array_equal(logits, model.engine.infer(images))
    for row, of_classes in zip(logits, maps, strict=True):
        assert of_classes.shape == (len(CLASSES), 7, 7)
        np.testing.assert_allclose(of_classes.mean(axis=(1, 2)), row, atol=1e-4)


def test_a_map_tells_of_its_own_part_of_the_picture(model: Model) -> None:
    image = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    changed = image.copy()
    changed[64:96, 160:192] = 255 - changed[64:96, 160:192]  # third row of 32 pixels, sixth column
    (_, (before,)), (_, (after,)) = model.engine.explain([image]), model.engine.explain([changed])

    places = np.argwhere(np.abs(before - after).max(axis=0) > 1e-4)
    assert places.tolist() == [[2, 5]]


def test_the_endpoint_explains_the_best_class(explaining: RunningServer, model: Model, jpeg: bytes) -> None:
    answer = explaining.ask(jpeg, **EXPLAIN).json()
    (prediction,) = answer["predictions"]
    explanation = prediction["explanation"]

    assert set(explanation) == {"class", "map", "box"}
    assert explanation["class"] == prediction["top"][0]["name"]
    (view,) = model.read([jpeg])
    (inferred,) = model.infer([view])
    assert np.mean(explanation["map"]) == pytest.approx(float(inferred.logits.max()), abs=1e-3)
    # 320 × 240 is resized to 341 × 256, of which the middle 224 × 224 are shown
    np.testing.assert_allclose(explanation["box"], [54.43, 15, 264.63, 225], atol=0.01)


def test_without_being_asked_nothing_is_explained(explaining: RunningServer, jpeg: bytes) -> None:
    (prediction,) = explaining.ask(jpeg, Content_Type="image/jpeg").json()["predictions"]
    assert set(prediction) == {"top"}


def test_the_mirrored_picture_changes_the_answer_but_not_the_map(
    explaining: RunningServer, jpeg: bytes
) -> None:
    header = "explain=true,tta=true"
    alone = explaining.ask(jpeg, **EXPLAIN).json()["predictions"][0]
    both = explaining.ask(jpeg, **{**EXPLAIN, "X_Amzn_SageMaker_Custom_Attributes": header}).json()
    (both,) = both["predictions"]
    assert both["top"][0]["probability"] != alone["top"][0]["probability"]
    if both["top"][0]["name"] == alone["top"][0]["name"]:
        assert both["explanation"] == alone["explanation"]


def test_accepting_a_picture_gets_the_overlay(explaining: RunningServer, model: Model, jpeg: bytes) -> None:
    answer = explaining.ask(jpeg, Content_Type="image/jpeg", Accept="image/png")
    assert answer.headers["content-type"] == "image/png"
    overlay = Image.open(io.BytesIO(answer.body))
    assert (overlay.format, overlay.size) == ("PNG", (SIZE, SIZE))

    (view,) = model.read([jpeg])
    difference = np.abs(np.asarray(overlay, dtype=float) - view.pixels).mean(axis=2)
    (inferred,) = model.infer_views([view], explain=True)
    assert inferred.explanation is not None
    tiles = difference.reshape(7, 32, 7, 32).mean(axis=(1, 3))
    heat = inferred.explanation.map.clip(0, None)
    assert tiles[heat == heat.max()] > tiles[heat == 0].mean() if (heat == 0).any() else True
    assert difference.max() > 20


def test_an_overlay_answers_one_picture_only(explaining: RunningServer, jpeg: bytes) -> None:
    body = io.BytesIO()
    np.save(body, np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8))
    answer = explaining.ask(body.getvalue(), Content_Type="application/x-npy", Accept="image/png")
    assert answer.status == 400
    assert "the answer to one picture; the request holds 2" in answer.json()["error"]["message"]


@pytest.mark.parametrize("how", [{}, {"Accept": "image/png"}])
def test_a_network_without_pooling_at_its_end_says_so(
    server: RunningServer, jpeg: bytes, how: dict[str, str]
) -> None:
    attributes = {} if how else EXPLAIN
    answer = server.ask(jpeg, **{"Content_Type": "image/jpeg", **attributes, **how})
    assert answer.status == 400
    assert "does not end in pooling and a linear layer" in answer.json()["error"]["message"]


def test_int8_networks_are_explained_too(tmp_path: Path) -> None:
    """NNCF puts FakeQuantize before and after the pooling, and dequantises the weights in the graph."""
    import nncf
    import openvino
    from tiny_artifact import description, write_description

    folder = write_explainable_artifact(tmp_path / "model")
    pictures = np.load(folder / "selftest_images.npy")
    network = openvino.Core().read_model(folder / "model.xml")
    dataset = nncf.Dataset([picture[np.newaxis] for picture in pictures])
    openvino.save_model(nncf.quantize(network, dataset, subset_size=2), folder / "int8.xml", False)
    for suffix in (".xml", ".bin"):  # not in place: the weights are still mapped into memory
        (folder / "int8").with_suffix(suffix).replace((folder / "model").with_suffix(suffix))
    content = description(folder)
    content["selftest"]["tolerance"] = 0.2
    write_description(folder, content)
    engine = load_model(folder, threads=1).engine

    logits, maps = engine.explain(list(pictures))
    means = np.stack([of_classes.mean(axis=(1, 2)) for of_classes in maps])
    assert np.abs(softmax(means) - softmax(logits)).max() < 0.02


def test_a_black_map_leaves_the_picture_as_it_is() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    nothing = Explanation("dog", np.full((7, 7), -1, dtype=np.float32), pixels, (0, 0, SIZE, SIZE))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(nothing.overlay()))), pixels)


def _predict(base: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CODE / "predict.py"), *map(str, arguments)]
    return subprocess.run(
        command, env=command_environment(base), capture_output=True, text=True, check=False, timeout=60
    )


def test_predict_writes_an_overlay_for_each_picture(base: Path, tmp_path: Path, jpeg: bytes) -> None:
    for name in ("a/dog.jpg", "b/dog.jpg"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True)
        (tmp_path / "pictures" / name).write_bytes(jpeg)
    out = tmp_path / "out"
    done = _predict(base, tmp_path / "pictures", "--explain", out, "--format", "json")
    assert done.returncode == 0, done.stderr
    expected = [out / "a/dog.jpg.png", out / "b/dog.jpg.png"]
    assert [Path(answer["explanation"]) for answer in json.loads(done.stdout)] == expected
    assert all(Image.open(file).size == (SIZE, SIZE) for file in expected)


def test_predict_says_where_an_overlay_cannot_be_written(base: Path, tmp_path: Path, jpeg: bytes) -> None:
    (tmp_path / "dog.jpg").write_bytes(jpeg)
    (tmp_path / "out").write_text("a file, not a folder")
    done = _predict(base, tmp_path / "dog.jpg", "--explain", tmp_path / "out")
    assert done.returncode == 1
    assert f"predict: {tmp_path / 'out'}: File exists" in done.stderr


def test_predict_refuses_to_explain_what_cannot_be(base_folder: Path, tmp_path: Path, jpeg: bytes) -> None:
    (tmp_path / "dog.jpg").write_bytes(jpeg)
    done = _predict(base_folder, tmp_path / "dog.jpg", "--explain", tmp_path / "out")
    assert done.returncode == 2
    assert "--explain: this model cannot be explained" in done.stderr
