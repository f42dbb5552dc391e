"""int8 is kept where validation finds nothing lost, and only there."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from test_export import PROVENANCE, SIZE, classifier
from torch import Tensor

from trainer import quantisation
from trainer.export import export_artifact, probabilities
from trainer.quantisation import Photographs, Quantised

INT8_FILES = {"model_int8.xml", "model_int8.bin", "selftest_logits_int8.npy"}


def pictures() -> Tensor:
    return torch.randn(12, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


def photographs() -> Photographs:
    """A dozen noisy pictures; the targets are what the model answers, in the test split class 0."""
    images = pictures()
    with torch.inference_mode():
        truth = classifier().eval()(images).argmax(dim=1)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(images.split(5), truth.split(5), strict=True)

    return Photographs(batches, batches, lambda: iter([(images, torch.zeros(12, dtype=torch.long))]))


def export(folder: Path, seen: Photographs) -> Quantised:
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(6))
    exported = export_artifact(classifier(), folder, PROVENANCE, selftest=images, photographs=seen)
    assert exported.quantised is not None
    return exported.quantised


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_int8_is_kept_where_it_answers_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantisation, "LARGEST_DROP", 0.2)  # of 12 pictures, random weights
    quantised = export(tmp_path, photographs())

    assert quantised.chosen == "int8"
    assert quantised.pictures == 12
    assert quantised.accuracy["f32"] == 1
    assert quantised.as_dict()["test_accuracy"] == quantised.test_accuracy
    assert names(tmp_path) >= INT8_FILES
    assert (tmp_path / "model_int8.bin").stat().st_size < 0.4 * (tmp_path / "model.bin").stat().st_size
    network = openvino.Core().compile_model(tmp_path / "model_int8.xml", "CPU")
    of_test = [network({"images": picture.numpy()})["logits"].argmax() for picture in pictures().split(1)]
    assert quantised.test_accuracy == of_test.count(0) / 12
    answered = network({"images": np.load(tmp_path / "selftest_images.npy")[:1]})["logits"]
    noted = np.load(tmp_path / "selftest_logits_int8.npy", allow_pickle=False)[:1]
    assert np.abs(probabilities(answered) - probabilities(noted)).max() < 0.05


def test_int8_is_left_out_where_accuracy_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantisation, "LARGEST_DROP", -2.0)  # nothing is good enough
    quantised = export(tmp_path, photographs())

    assert quantised.chosen == "f32"
    assert not names(tmp_path) & INT8_FILES
    assert "f32 kept" in quantised.line()
    assert "test_accuracy" not in quantised.as_dict()


def test_the_same_pictures_give_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantisation, "LARGEST_DROP", 1.0)
    for run in ("first", "second"):
        export(tmp_path / run, photographs())

    first, second = (tmp_path / run / "model_int8.bin" for run in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
