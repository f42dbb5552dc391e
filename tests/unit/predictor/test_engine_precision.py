"""The precision that the artifact chose is what answers, unless told otherwise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from tiny_artifact import MEAN, SIZE, STD, add_int8_engine, fingerprint, write_description

from predictor.artifact import ArtifactError, read_artifact
from predictor.engine import Engine, run_selftest, softmax
from predictor.model import load_model


@pytest.fixture
def int8_folder(artifact_folder: Path) -> Path:
    """An artifact whose int8 engine answers recognisably other than its f32 engine."""
    return add_int8_engine(artifact_folder)


def engine(folder: Path, precision: str | None = None) -> Engine:
    return Engine(read_artifact(folder), threads=1, precision=precision)


def test_the_artifacts_choice_is_used_unless_told_otherwise(int8_folder: Path) -> None:
    images = np.load(int8_folder / "selftest_images.npy")

    assert engine(int8_folder).precision == "int8"
    assert engine(int8_folder, "f32").precision == "f32"
    answers = engine(int8_folder).infer(list(images)), engine(int8_folder, "f32").infer(list(images))
    assert np.abs(answers[0] - answers[1]).max() > 0.1


def test_an_artifact_without_a_choice_is_served_in_f32(artifact_folder: Path) -> None:
    assert engine(artifact_folder).precision == "f32"


def test_each_precision_is_held_against_its_own_answers(int8_folder: Path) -> None:
    artifact = read_artifact(int8_folder)
    for precision in ("int8", "f32"):
        assert run_selftest(Engine(artifact, threads=1, precision=precision), artifact) < 1e-3

    other = int8_folder / "selftest_logits_int8.npy"
    np.save(other, 10 * np.load(other))
    content = read_description(int8_folder)
    content["files"][other.name] = fingerprint(other)
    write_description(int8_folder, content)
    with pytest.raises(ArtifactError, match="self-test differs"):
        load_model(int8_folder, threads=1)


def read_description(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "artifact.json").read_text())
    return content


@pytest.mark.parametrize("name", ["model_int8.xml", "model_int8.bin", "selftest_logits_int8.npy"])
def test_an_int8_file_with_one_altered_byte_never_answers(int8_folder: Path, name: str) -> None:
    content = bytearray((int8_folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (int8_folder / name).write_bytes(content)

    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        load_model(int8_folder, threads=1)


def _choose(precision: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["precision"].update(chosen=precision)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_choose("int4"), "`precision.chosen` is 'int4'"),
        (lambda content: content["engines"]["int8"].pop("selftest"), "`engines.int8.selftest` is missing"),
        (lambda content: content["files"].pop("model_int8.bin"), "which `files` does not list"),
    ],
)
def test_a_wrong_description_of_int8_is_refused(
    int8_folder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = read_description(int8_folder)
    change(content)
    write_description(int8_folder, content)
    with pytest.raises(ArtifactError, match=message):
        read_artifact(int8_folder)


def test_a_precision_that_the_artifact_lacks_is_refused(artifact_folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no engine for the precision 'int8', only for f32, bf16"):
        engine(artifact_folder, "int8")


def test_bf16_answers_where_the_processor_has_it_and_is_refused_elsewhere(artifact_folder: Path) -> None:
    artifact = read_artifact(artifact_folder)
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ArtifactError, match="does not compute in bf16"):
            Engine(artifact, threads=1, precision="bf16")
        return
    assert run_selftest(Engine(artifact, threads=1, precision="bf16"), artifact) < 0.05


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_pixels_and_the_same_picture_normalised_get_the_same_answer(
    int8_folder: Path, precision: str
) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    mean, std = np.array(MEAN, dtype=np.float32), np.array(STD, dtype=np.float32)
    images = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    tested = engine(int8_folder, precision)

    difference = np.abs(softmax(tested.infer(list(pixels))) - softmax(tested.infer(list(images))))
    assert difference.max() < 1e-5
