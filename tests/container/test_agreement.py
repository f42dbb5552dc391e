"""A picture gets the same answer from the endpoint, from `predict`, and from the trained PyTorch model."""

import csv
import json
from io import BytesIO
from pathlib import Path

import docker
import httpx
import numpy as np
import pytest
from PIL import Image
from project import DRAWN, SERVE, DemoRun

from launcher.endpoint import EndpointClient
from launcher.hosting import RunningEndpoint

Answers = dict[str, dict[str, float]]  # picture → class → probability


@pytest.fixture(scope="module")
def from_torch(demo: DemoRun) -> Answers:
    """What PyTorch answered at the end of training."""
    names = [entry["name"] for entry in demo.artifact["classes"]]
    probabilities = np.load(demo.job / "output/data/test_probabilities.npy", allow_pickle=False)
    with (demo.job / "output/data/test_predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        row["file"]: dict(zip(names, map(float, row_), strict=True))
        for row, row_ in zip(rows, probabilities, strict=True)
    }


@pytest.fixture(scope="module")
def from_predict(demo: DemoRun, images: docker.DockerClient) -> Answers:
    """What `docker run --network none IMAGE predict FOLDER` answers."""
    volumes = {
        str(DRAWN): {"bind": "/data", "mode": "ro"},
        str(demo.job / "model"): {"bind": "/opt/ml/model", "mode": "ro"},
    }
    printed = images.containers.run(
        SERVE,
        ["predict", "/data/test", "--format", "json"],
        volumes=volumes,
        network_mode="none",
        remove=True,
    )
    return {
        str(Path(entry["file"]).relative_to("/data")): {
            each["name"]: each["probability"] for each in entry["top"]
        }
        for entry in json.loads(printed)
    }


@pytest.fixture(scope="module")
def from_endpoint(endpoint: RunningEndpoint, from_torch: Answers) -> Answers:
    """What the endpoint answers for each file."""
    files = [DRAWN / name for name in from_torch]
    with EndpointClient.connect(endpoint.url) as client:
        replies = list(client.predict_all(files, clients=4))
    return {
        name: {each.name: each.probability for each in reply[0].top}
        for name, reply in zip(from_torch, replies, strict=True)
    }


def largest_difference(some: Answers, reference: Answers) -> float:
    """The largest difference of a probability, over the classes that `some` names for each picture."""
    assert some.keys() == reference.keys()
    return max(
        abs(p - reference[file].get(name, 0.0)) for file, top in some.items() for name, p in top.items()
    )


def test_the_endpoint_and_predict_agree_on_every_test_picture(
    from_endpoint: Answers, from_predict: Answers
) -> None:
    assert largest_difference(from_endpoint, from_predict) < 1e-4


def test_the_endpoint_agrees_with_pytorch_on_every_test_picture(
    from_endpoint: Answers, from_torch: Answers
) -> None:
    assert largest_difference(from_endpoint, from_torch) < 1e-3


def test_predict_agrees_with_pytorch_on_every_test_picture(
    from_predict: Answers, from_torch: Answers
) -> None:
    assert largest_difference(from_predict, from_torch) < 1e-3


def test_an_array_client_gets_raw_logits(endpoint: RunningEndpoint, from_torch: Answers) -> None:
    """The client contract of the beginning: resized, cropped, normalised by the client itself."""
    name = next(name for name in from_torch if name.endswith(".jpg"))
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
    assert (logits.shape, logits.dtype) == ((1, len(from_torch[name])), np.float32)
    best = list(from_torch[name])[int(logits[0].argmax())]
    assert best == max(from_torch[name], key=from_torch[name].__getitem__)
