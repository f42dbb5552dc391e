"""The artifact is docs/artifact.md's, answers like the model, and is there completely or not at all."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch

from trainer.backbones import BACKBONES, Classifier, build_classifier
from trainer.ensemble import Ensemble, combine
from trainer.export import Provenance, export_artifact, probabilities
from trainer.failures import ExportError
from trainer.labels import label_of
from trainer.views import Preprocessing

SIZE = 64
PROVENANCE = Provenance(
    classes=["001.red_setter", "002.Green_hound", "blue"],
    preprocessing=Preprocessing(resize=72, crop=SIZE),
    backbones=[
        {
            "name": "efficientnet_lite0",
            "weights": "none",
            "weights_sha256": None,
            "best_epoch": 2,
            "share": 1.0,
        }
    ],
    training_run={"seed": 3},
    metrics={"test:accuracy": 0.5},
    report_card={"accuracy": 0.5, "temperature": 1.25},
)


def classifier() -> Classifier:
    model = build_classifier(BACKBONES["efficientnet_lite0"], None, classes=3, seed=1)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.head.weight)
    return model


def export(folder: Path) -> dict[str, Any]:
    torch.manual_seed(2)
    exported = export_artifact(classifier(), folder, PROVENANCE, selftest=torch.randn(2, 3, SIZE, SIZE))
    description: dict[str, Any] = json.loads(exported.description.read_text(encoding="utf-8"))
    return description


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("artifact") / "model"
    return folder, export(folder)


def test_the_description_has_the_keys_of_the_page(artifact: tuple[Path, dict[str, Any]]) -> None:
    description = artifact[1]
    page = (Path(__file__).parents[3] / "docs" / "artifact.md").read_text(encoding="utf-8")

    assert all(f"| `{key}` |" in page for key in description)
    assert description["schema_version"] == 1
    assert description["classes"][1] == {"name": "002.Green_hound", "label": "Green hound"}
    assert description["input"] == {"name": "images", "dtype": "float32", "shape": [None, 3, SIZE, SIZE]}
    assert description["output"] == {"name": "logits", "dtype": "float32", "shape": [None, 3]}
    assert description["preprocessing"]["crop"] == SIZE
    assert description["backbones"] == PROVENANCE.backbones
    assert description["report_card"] == PROVENANCE.report_card


def test_every_other_file_is_listed_with_its_size_and_digest(artifact: tuple[Path, dict[str, Any]]) -> None:
    folder, description = artifact
    found = {
        file.name: {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in folder.iterdir()
        if file.name != "artifact.json"
    }

    assert set(found) == {"model.xml", "model.bin", "selftest_images.npy", "selftest_logits.npy"}
    assert description["files"] == found


def test_the_network_takes_any_number_of_pictures_and_answers_like_the_model(
    artifact: tuple[Path, dict[str, Any]],
) -> None:
    network = openvino.Core().compile_model(
        artifact[0] / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    model = classifier().eval()

    for count in (1, 5):
        images = torch.randn(count, 3, SIZE, SIZE)
        with torch.inference_mode():
            expected = probabilities(model(images).numpy())
        assert np.abs(probabilities(network({"images": images.numpy()})["logits"]) - expected).max() < 1e-3


def test_the_self_test_holds_the_models_answers(artifact: tuple[Path, dict[str, Any]]) -> None:
    images, logits = (
        np.load(artifact[0] / f"selftest_{what}.npy", allow_pickle=False) for what in ("images", "logits")
    )

    with torch.inference_mode():
        expected = classifier().eval()(torch.from_numpy(images)).numpy()
    assert images.dtype == logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("002.Afghan_hound", "Afghan hound"),
        ("beagle", "beagle"),
        ("120.a.b", "a.b"),
        ("3_legged", "3 legged"),
    ],
)
def test_labels_are_for_people(name: str, label: str) -> None:
    assert label_of(name) == label


def test_a_killed_export_leaves_nothing_servable_and_the_next_one_succeeds(tmp_path: Path) -> None:
    export(tmp_path)  # an older artifact lies there
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); " + (
        f"from pathlib import Path; import test_export; test_export.export(Path({str(tmp_path)!r}))"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    while not (tmp_path / ".partial" / "model.bin").exists():
        assert child.poll() is None, "the export ended before it could be killed"
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    assert not (tmp_path / "artifact.json").exists()
    export(tmp_path)
    assert (tmp_path / "artifact.json").exists()
    assert not (tmp_path / ".partial").exists()


def test_a_full_disk_is_named_and_leaves_nothing_servable(
    tmp_path: Path, mount_disk: Callable[[Path, str], Path]
) -> None:
    disk = mount_disk(tmp_path / "disk", "6m")  # less than the model
    with pytest.raises(ExportError, match=r"the disk of .* is full: .* larger volume"):
        export(disk)

    assert list(disk.iterdir()) == []


def test_a_model_that_openvino_answers_differently_is_not_exported(tmp_path: Path) -> None:
    class Unfaithful(Classifier):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            return logits if torch.jit.is_tracing() else logits.roll(1, dims=1)

    model = classifier()
    model.__class__ = Unfaithful
    with pytest.raises(ExportError, match="differ from the trained model's"):
        export_artifact(model, tmp_path, PROVENANCE, selftest=torch.randn(2, 3, SIZE, SIZE))

    assert list(tmp_path.iterdir()) == []


def test_several_members_are_one_network_that_answers_as_they_do_together(tmp_path: Path) -> None:
    members = [classifier(), classifier()]
    torch.nn.init.normal_(members[1].head.weight)
    images, shares = torch.randn(2, 3, SIZE, SIZE), [0.3, 0.7]
    with torch.inference_mode():
        expected = combine([member.eval()(images) for member in members], shares)

    export_artifact(Ensemble(members, shares), tmp_path, PROVENANCE, selftest=images)

    network = openvino.Core().compile_model(
        tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    assert len(network.inputs) == len(network.outputs) == 1
    answered = network({"images": images.numpy()})["logits"]
    assert np.abs(probabilities(answered) - probabilities(expected.numpy())).max() < 1e-4
