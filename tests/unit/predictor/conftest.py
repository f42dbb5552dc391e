"""A tiny artifact, a picture, and a running server, for the tests of the predictor wing."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_server import RunningServer
from tiny_artifact import write_tiny_artifact


@pytest.fixture
def artifact_folder(tmp_path: Path) -> Path:
    """An artifact of the test's own, to be damaged at will."""
    return write_tiny_artifact(tmp_path / "opt-ml" / "model")


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `SAGEMAKER_BASE_DIR` with an intact artifact, shared by all tests."""
    base = tmp_path_factory.mktemp("opt-ml")
    write_tiny_artifact(base / "model")
    return base


@pytest.fixture(scope="session")
def server(base_folder: Path) -> Iterator[RunningServer]:
    """The real model server on a free port, shared by all tests that only ask it."""
    with RunningServer(base_folder) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A JPEG file of 320 × 240 pixels."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    stream = io.BytesIO()
    coarse.resize((320, 240), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=95)
    return stream.getvalue()
