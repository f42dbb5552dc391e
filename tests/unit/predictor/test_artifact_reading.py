"""What `docs/artifact.md` promises of a reader."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_artifact import CLASSES, SIZE, description, fingerprint, write_description

from predictor.artifact import ArtifactError, read_artifact
from predictor.model import load_model

FILES = ("artifact.json", "model.xml", "model.bin", "selftest_images.npy", "selftest_logits.npy")


def test_an_intact_artifact_is_read(artifact_folder: Path) -> None:
    artifact = read_artifact(artifact_folder)
    assert [entry.name for entry in artifact.classes] == list(CLASSES)
    assert artifact.labels[1] == "Afghan hound"
    assert artifact.input_shape == (3, SIZE, SIZE)
    assert artifact.preprocessing.resize == 256


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("position", [0, -1])
def test_one_altered_byte_is_noticed(artifact_folder: Path, name: str, position: int) -> None:
    content = bytearray((artifact_folder / name).read_bytes())
    content[position] ^= 1
    (artifact_folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"SHA-256 differs \(.*{name}\)"):
        read_artifact(artifact_folder)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_cut_off_file_is_noticed(artifact_folder: Path, name: str) -> None:
    os.truncate(artifact_folder / name, 10)
    with pytest.raises(ArtifactError, match="has 10 bytes instead of"):
        read_artifact(artifact_folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(artifact_folder: Path, name: str) -> None:
    (artifact_folder / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: is missing"):
        read_artifact(artifact_folder)


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_refused_even_to_the_right_content(artifact_folder: Path, name: str) -> None:
    elsewhere = artifact_folder.parent / name
    (artifact_folder / name).rename(elsewhere)
    (artifact_folder / name).symlink_to(elsewhere)
    with pytest.raises(ArtifactError, match="is a link"):
        read_artifact(artifact_folder)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/b", "..", ".", "", "a\\b", "artifact.json"]
)
def test_a_name_that_leaves_the_folder_is_refused(artifact_folder: Path, name: str) -> None:
    (artifact_folder.parent / "secret").write_text("s")
    content = description(artifact_folder)
    content["files"][name] = fingerprint(artifact_folder.parent / "secret")
    write_description(artifact_folder, content)
    with pytest.raises(ArtifactError, match="not a plain file name"):
        read_artifact(artifact_folder)


def _without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def _with(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with(2, "schema_version"), "schema_version is 2; this server reads 1"),
        (_with("1", "schema_version"), "schema_version is '1'"),
        (_with(True, "schema_version"), "schema_version is True"),
        (_without("schema_version"), "`schema_version` is missing"),
        (_without("preprocessing", "mean"), "`preprocessing.mean` is missing"),
        (_with("bicubic", "preprocessing", "interpolation"), "only bilinear is known"),
        (_with([1, 0, 1], "preprocessing", "std"), "nothing can be divided by"),
        (_with([0.5, 0.5], "preprocessing", "mean"), "not a list of three numbers"),
        (_with(0, "preprocessing", "crop"), "`preprocessing.crop` is 0"),
        (_with([], "classes"), "`classes` is not a list"),
        (_with([{"name": "a"}], "classes"), r"`classes\[0\]` lacks"),
        (_with([{"name": "a", "label": "a"}] * 6, "classes"), "names a class twice"),
        (_with([None, 7], "output", "shape"), "`output` is float32"),
        (_with("float16", "input", "dtype"), "`input` is float16"),
        (_with("other.bin", "engines", "f32", "weights"), "which `files` does not list"),
        (_with({}, "engines"), "`engines` has no `f32`"),
        (_with(float("nan"), "selftest", "tolerance"), "`selftest.tolerance`"),
        (_with({"bytes": "3"}, "files", "model.xml"), "`files.model.xml` lacks"),
        (_with([], "files"), "`files` is not an object"),
    ],
)
def test_a_wrong_description_is_refused_by_the_name_of_its_key(
    artifact_folder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = description(artifact_folder)
    change(content)
    write_description(artifact_folder, content)
    with pytest.raises(ArtifactError, match=message):
        read_artifact(artifact_folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"[" * 100_000])
def test_a_description_that_is_not_an_object_is_refused(artifact_folder: Path, content: bytes) -> None:
    (artifact_folder / "artifact.json").write_bytes(content)
    with pytest.raises(ArtifactError):
        read_artifact(artifact_folder)


def test_unknown_keys_and_further_files_are_ignored(artifact_folder: Path) -> None:
    content = description(artifact_folder) | {"future": {"key": 1}}
    write_description(artifact_folder, content)
    (artifact_folder / "report.html").write_text("<p>")
    assert len(read_artifact(artifact_folder).classes) == len(CLASSES)


def test_the_message_says_what_where_and_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_artifact(tmp_path / "nowhere")
    assert "artifact.json: is missing" in str(caught.value)
    assert str(tmp_path / "nowhere") in str(caught.value)
    assert "model.tar.gz" in str(caught.value)


def test_a_network_that_answers_differently_fails_the_self_test(artifact_folder: Path) -> None:
    logits = np.load(artifact_folder / "selftest_logits.npy")
    np.save(artifact_folder / "selftest_logits.npy", logits[:, ::-1])
    write_description(artifact_folder, description(artifact_folder))
    with pytest.raises(ArtifactError, match="self-test differs by"):
        load_model(artifact_folder, threads=1)


def test_a_pickle_in_place_of_an_array_is_never_opened(artifact_folder: Path) -> None:
    np.save(artifact_folder / "selftest_images.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    write_description(artifact_folder, description(artifact_folder))
    with pytest.raises(ArtifactError, match="array cannot be read"):
        load_model(artifact_folder, threads=1)


def test_a_network_that_openvino_cannot_read_is_an_artifact_error(artifact_folder: Path) -> None:
    (artifact_folder / "model.xml").write_text("<net/>")
    write_description(artifact_folder, description(artifact_folder))
    with pytest.raises(ArtifactError, match="OpenVINO cannot read"):
        load_model(artifact_folder, threads=1)
