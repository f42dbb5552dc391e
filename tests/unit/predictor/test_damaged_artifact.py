"""A broken artifact never gets to answer: every file removed, emptied, cut, or altered by one byte."""

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from running_server import CODE, command_environment, free_port
from tiny_artifact import add_int8_engine, write_tiny_artifact

from predictor.artifact import ArtifactError, read_artifact
from predictor.model import load_model

FILES = (
    *("artifact.json", "model.xml", "model.bin", "selftest_images.npy", "selftest_logits.npy"),
    *("model_int8.xml", "model_int8.bin", "selftest_logits_int8.npy"),
)


def _remove(file: Path) -> None:
    file.unlink()


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _cut_by_one(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def _alter_first(file: Path) -> None:
    _alter(file, 0)


def _alter_middle(file: Path) -> None:
    _alter(file, file.stat().st_size // 2)


def _alter_last(file: Path) -> None:
    _alter(file, file.stat().st_size - 1)


def _alter(file: Path, place: int) -> None:
    """Flip one bit: the size stays."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def _make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _make_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


DAMAGES: tuple[Callable[[Path], None], ...] = (
    *(_remove, _empty, _cut, _cut_by_one, _lengthen),
    *(_alter_first, _alter_middle, _alter_last, _make_folder, _make_link),
)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact with both engines, to be damaged."""
    return add_int8_engine(write_tiny_artifact(tmp_path / "model"))


def _name(damage: Callable[[Path], None]) -> str:
    return damage.__name__.strip("_").replace("_", "-")


@pytest.mark.parametrize("damage", DAMAGES, ids=_name)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused_by_name(artifact: Path, name: str, damage: Callable[[Path], None]) -> None:
    load_model(artifact, threads=1)
    damage(artifact / name)
    with pytest.raises(ArtifactError) as refused:
        load_model(artifact, threads=1)
    assert str(artifact / name) in str(refused.value)


@pytest.mark.parametrize("precision", ["f32", "int8"])
@pytest.mark.parametrize("name", FILES[1:])
def test_a_damaged_engine_is_refused_also_where_the_other_is_asked_for(
    artifact: Path, name: str, precision: str
) -> None:
    _alter_middle(artifact / name)
    with pytest.raises(ArtifactError, match="the file was altered"):
        load_model(artifact, threads=1, precision=precision)


def test_a_description_with_any_byte_altered_is_refused(artifact: Path) -> None:
    file = artifact / "artifact.json"
    whole, rng = file.read_bytes(), random.Random(5)
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
        with pytest.raises(ArtifactError) as refused:
            read_artifact(artifact)
        assert str(file) in str(refused.value)


def test_a_description_without_its_own_digest_is_refused(artifact: Path) -> None:
    file = artifact / "artifact.json"
    content = json.loads(file.read_text())
    del content["sha256"]
    file.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="the key `sha256` is missing"):
        read_artifact(artifact)


def _start_until_it_ends(base: Path, port: int) -> tuple[int, str, bool]:
    """Its exit code, what it said, and whether the port was open at any time."""
    log, listened = base / "serve.log", False
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, str(CODE / "serve.py")],
            env=command_environment(
                base, SAGEMAKER_BIND_TO_PORT=str(port), SAGEMAKER_MODEL_SERVER_WORKERS="1"
            ),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + 60
    while process.poll() is None and not listened and time.monotonic() < deadline:
        with socket.socket() as probe:
            listened = probe.connect_ex(("127.0.0.1", port)) == 0
        time.sleep(0.005)
    if process.poll() is None:
        process.terminate()
    return process.wait(timeout=30), log.read_text(), listened


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("artifact.json", _remove),
        ("artifact.json", _cut),
        ("artifact.json", _alter_middle),
        ("model.xml", _empty),
        ("model_int8.bin", _alter_last),
        ("selftest_logits_int8.npy", _cut_by_one),
    ],
    ids=lambda value: value if isinstance(value, str) else _name(value),
)
def test_a_server_with_a_damaged_file_ends_and_never_listens(
    artifact: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(artifact / name)
    code, said, listened = _start_until_it_ends(artifact.parent, free_port())
    assert code == 1
    assert not listened
    (reason,) = [line for line in said.splitlines() if line.startswith("serve: ")]
    assert reason.startswith("serve: the model cannot be served: ")
    assert str(artifact / name) in reason
    assert "Traceback" not in said
