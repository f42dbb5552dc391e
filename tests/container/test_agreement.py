"""A picture gets the same answer from the endpoint, from `predict`, and from the trained PyTorch model."""

from io import BytesIO

import agreement
import httpx
import numpy as np
import pytest
from agreement import Answers
from PIL import Image
from project import DRAWN, DemoRun

from launcher.docker_backend import DockerBackend
from launcher.hosting import RunningEndpoint


@pytest.fixture(scope="module")
def from_pytorch(demo: DemoRun) -> Answers:
    """What PyTorch answered at the end of training."""
    return agreement.from_pytorch(demo.job)


@pytest.fixture(scope="module")
def from_predict(demo: DemoRun) -> Answers:
    """What `docker run --network none IMAGE predict FOLDER` answers."""
    return agreement.from_predict("docker", demo.job, DRAWN, agreement.FULL)


@pytest.fixture(scope="module")
def from_endpoint(demo: DemoRun, from_pytorch: Answers) -> Answers:
    """What an endpoint in a container answers."""
    return agreement.from_endpoint(DockerBackend(), demo.job, DRAWN, from_pytorch)


def test_the_endpoint_and_predict_agree_on_every_test_picture(
    from_endpoint: Answers, from_predict: Answers
) -> None:
    assert agreement.largest_difference(from_endpoint, from_predict) < 1e-4


def test_the_endpoint_agrees_with_pytorch_on_every_test_picture(
    from_endpoint: Answers, from_pytorch: Answers
) -> None:
    assert agreement.largest_difference(from_endpoint, from_pytorch) < 1e-3


def test_predict_agrees_with_pytorch_on_every_test_picture(
    from_predict: Answers, from_pytorch: Answers
) -> None:
    assert agreement.largest_difference(from_predict, from_pytorch) < 1e-3


def test_an_array_client_gets_raw_logits(endpoint: RunningEndpoint, from_pytorch: Answers) -> None:
    """The client contract of the beginning: resized, cropped, normalised by the client itself."""
    name = next(name for name in from_pytorch if name.endswith(".jpg"))
    picture = Image.open(DRAWN / name).convert("RGB")
    scale = 256 / min(picture.size)
    picture = picture.resize(
        (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
    normalised = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    body = BytesIO()
    np.save(body, normalised.transpose(2, 0, 1)[None].astype(np.float32))

    answer = httpx.post(
        f"{endpoint.url}/invocations",
        content=body.getvalue(),
        headers={"Content-Type": "application/x-npy", "Accept": "application/x-npy"},
    )

    logits = np.load(BytesIO(answer.content), allow_pickle=False)
    assert answer.headers["content-type"] == "application/x-npy"
    assert (logits.shape, logits.dtype) == ((1, len(from_pytorch[name])), np.float32)
    best = list(from_pytorch[name])[int(logits[0].argmax())]
    assert best == max(from_pytorch[name], key=from_pytorch[name].__getitem__)
