"""Where weights come from, and that nothing is ever made up instead."""

import hashlib
import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from trainer.backbones import BACKBONES, find_backbone, pretrained_head
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

    with pytest.raises(WeightsError, match="damaged: its name promises a SHA-256 that begins with 11ad3fa6"):
        find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path)


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_weight_file_cannot_run_code(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if zipped:
        torch.save(Command(), "resnet50.pth")
    else:
        Path("resnet50.pth").write_bytes(pickle.dumps(Command()))

    with pytest.raises(WeightsError, match="is not a file of PyTorch weights"):
        _ = find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path).tensors
    assert not Path("executed").exists()


def test_a_checkpoint_that_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": {}}, tmp_path / "resnet50.pth")

    with pytest.raises(WeightsError, match="is not a plain state dict"):
        _ = find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path).tensors


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_truncated_file_is_refused(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"resnet50.{suffix}"
    tensors = {"weight": torch.rand(100, 100)}
    torch.save(tensors, file) if suffix == "pth" else safetensors.torch.save_file(tensors, file)
    file.write_bytes(file.read_bytes()[:20_000])

    with pytest.raises(WeightsError, match="is not a"):
        _ = find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path).tensors


def test_a_file_is_not_read_before_its_tensors_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "resnet50.pth").write_text("this would not be readable")

    found = find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path)

    assert found.sha256 == hashlib.sha256(b"this would not be readable").hexdigest()


def test_safetensors_files_are_read(tmp_path: Path) -> None:
    safetensors.torch.save_file({"fc.weight": torch.ones(2, 3)}, tmp_path / "resnet50.safetensors")

    tensors = find_weights(RESNET, "auto", channel=tmp_path, image=tmp_path).tensors

    assert tensors is not None
    assert torch.equal(tensors["fc.weight"], torch.ones(2, 3))


def test_all_efficientnets_bring_their_weights_as_packages(tmp_path: Path) -> None:
    for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        found = find_weights(BACKBONES[name], "auto", channel=tmp_path, image=tmp_path)

        assert found.source == "image"
        assert pretrained_head(BACKBONES[name], found.tensors) is not None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("timm:convnext_atto", "convnext_atto.safetensors"),
        ("timm:convnext_atto.d2_in1k", "convnext_atto.d2_in1k.pth"),
        ("torchvision:vgg16", "vgg16-397923af.pth"),
        ("torchvision:shufflenet_v2_x1_0", "shufflenetv2_x1-5666bf0f80.pth"),
    ],
)
def test_another_librarys_file_is_found_by_the_networks_name_or_its_own(
    name: str, file: str, tmp_path: Path
) -> None:
    (tmp_path / file).touch()
    (tmp_path / "vgg16_bn-6c64b313.pth").touch()

    with pytest.raises(WeightsError) if "-" in file else nullcontext() as caught:  # it is empty
        found = find_weights(find_backbone(name), "auto", channel=tmp_path, image=tmp_path / "none")

    if caught is None:
        assert found.file == tmp_path / file
    else:
        assert str(tmp_path / file) in str(caught.value)
        assert "is damaged" in str(caught.value)


def test_a_timm_network_without_a_plain_address_says_which_file_it_needs(tmp_path: Path) -> None:
    hub_only = find_backbone("timm:densenet121")

    with pytest.raises(WeightsError, match=r"Provide densenet121\.pth or densenet121\.safetensors in"):
        find_weights(hub_only, "auto", channel=tmp_path, image=tmp_path)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the address of the server that offers its files."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_is_checked_by_the_hash_in_its_address(
    shelf: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = shelf
    plain = save(folder / "plain.pth")
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    named = plain.rename(folder / f"some_network-{digest[:8]}.pth")

    entry = replace(RESNET, url=f"{address}/{named.name}")
    found = find_weights(entry, "auto", channel=tmp_path, image=tmp_path)

    assert (found.source, found.sha256) == ("download", digest)
    assert "warning" not in capsys.readouterr().err


def test_a_download_that_nothing_promises_is_used_with_a_warning_that_tells_its_hash(
    shelf: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = shelf
    save(folder / "network.pth")

    entry = replace(RESNET, url=f"{address}/network.pth")
    found = find_weights(entry, "auto", channel=tmp_path, image=tmp_path)

    assert found.source == "download"
    warning = capsys.readouterr().err
    assert "is used unchecked" in warning
    assert str(found.sha256) in warning


def test_a_damaged_download_in_the_cache_is_told(shelf: tuple[Path, str], tmp_path: Path) -> None:
    _, address = shelf
    save(tmp_path / "torch" / "hub" / "checkpoints" / "network-0123abcd.pth")

    entry = replace(RESNET, url=f"{address}/network-0123abcd.pth")
    with pytest.raises(WeightsError, match=r"is damaged: .* replace it or delete it"):
        find_weights(entry, "auto", channel=tmp_path, image=tmp_path)
