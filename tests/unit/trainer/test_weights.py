"""Where weights come from, and that nothing is ever made up instead."""

import hashlib
import os
import pickle
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.backbones import BACKBONES
from trainer.failures import WeightsError
from trainer.weights import find_weights

RESNET, LITE = BACKBONES["resnet50"], BACKBONES["efficientnet_lite0"]


def save(path: Path, value: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"layer.weight": torch.full((2, 2), value)}, path)
    return path


def test_the_channel_comes_before_the_image(tmp_path: Path) -> None:
    inside, outside = (
        save(tmp_path / "channel" / "resnet50-own.pth", 1),
        save(tmp_path / "image" / "resnet50.pth"),
    )

    found = find_weights(RESNET, "auto", channel=inside.parent, image=outside.parent)

    assert (found.source, found.file) == ("channel", inside)
    assert found.sha256 == hashlib.sha256(inside.read_bytes()).hexdigest()
    assert found.tensors is not None
    assert found.tensors["layer.weight"][0, 0] == 1


def test_the_images_folder_comes_before_its_package(tmp_path: Path) -> None:
    file = save(tmp_path / "image" / "efficientnet_lite0.pth")

    found = find_weights(LITE, "auto", channel=tmp_path / "none", image=file.parent)

    assert (found.source, found.file) == ("image", file)


def test_efficientnets_weights_are_in_the_image_as_a_package(tmp_path: Path) -> None:
    found = find_weights(LITE, "auto", channel=tmp_path, image=tmp_path)

    assert found.source == "image"
    assert found.sha256 is not None
    assert found.sha256.startswith("57934424")
    assert found.tensors is not None
    assert len(found.tensors) == 296


def test_only_an_explicit_none_starts_from_random_numbers(tmp_path: Path) -> None:
    found = find_weights(LITE, "none", channel=tmp_path, image=tmp_path)

    assert (found.source, found.tensors, found.sha256) == ("none", None, None)


def test_another_backbones_file_is_not_taken(tmp_path: Path) -> None:
    save(tmp_path / "resnet50.pth")
    nowhere = replace(LITE, package=None)

    with pytest.raises(WeightsError, match="no weights for efficientnet_lite0"):
        find_weights(nowhere, "auto", channel=tmp_path, image=tmp_path)


def test_two_files_for_one_backbone_are_not_left_to_chance(tmp_path: Path) -> None:
    save(tmp_path / "resnet50-a.pth")
    save(tmp_path / "resnet50-b.pth")

    with pytest.raises(
        WeightsError, match=r"several weight files for resnet50 \(resnet50-a.pth, resnet50-b.pth\)"
    ):
        find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path)


def test_a_network_without_a_way_out_ends_in_a_hint_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/resnet50-11ad3fa6.pth"
        started = time.monotonic()
        with pytest.raises(WeightsError) as caught:
            find_weights(replace(RESNET, url=address), "auto", channel=tmp_path, image=tmp_path, patience=0.5)

    assert time.monotonic() - started < 5
    message = str(caught.value)
    for hint in (
        "could not download",
        "channel named `pretrained`",
        "docker/weights",
        "hyperparameter weights=none",
    ):
        assert hint in message


def test_a_damaged_file_is_told_by_the_hash_in_its_name(tmp_path: Path) -> None:
    save(tmp_path / "resnet50-11ad3fa6.pth")

    with pytest.raises(WeightsError, match="is damaged: its SHA-256 begins with"):
        find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path)


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_a_weight_file_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet50.pth").write_bytes(pickle.dumps(Command()))

    with pytest.raises(WeightsError, match="is not a file of PyTorch weights"):
        find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path)
    assert not Path("executed").exists()


def test_a_checkpoint_that_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": {}}, tmp_path / "resnet50.pth")

    with pytest.raises(WeightsError, match="is not a plain state dict"):
        find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path)
