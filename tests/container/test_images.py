"""What the two images are and hold; one fact a test."""

import json
import re

import docker
import pytest
from docker.models.containers import Container
from project import SERVE, TRAIN


def run(
    client: docker.DockerClient, image: str, *command: str, entrypoint: list[str] | None = None
) -> tuple[int, str]:
    """Run a command in an image without a network; returns its exit code and what it printed."""
    container: Container = client.containers.create(
        image, list(command), entrypoint=entrypoint, network_mode="none"
    )
    try:
        container.start()
        code = container.wait(timeout=120)["StatusCode"]
        return code, container.logs().decode()
    finally:
        container.remove(force=True, v=True)


@pytest.mark.parametrize("image", [TRAIN, SERVE])
def test_the_entrypoint_is_in_exec_form_and_not_an_init(images: docker.DockerClient, image: str) -> None:
    entrypoint = images.images.get(image).attrs["Config"]["Entrypoint"]

    assert entrypoint[0] == "python"
    assert not any("tini" in word for word in entrypoint)


@pytest.mark.parametrize(("image", "command"), [(TRAIN, ["train"]), (SERVE, ["serve"])])
def test_the_default_command_is_the_platforms(
    images: docker.DockerClient, image: str, command: list[str]
) -> None:
    assert images.images.get(image).attrs["Config"]["Cmd"] == command


@pytest.mark.parametrize("image", [TRAIN, SERVE])
def test_the_labels_say_where_the_image_comes_from(images: docker.DockerClient, image: str) -> None:
    labels = images.images.get(image).labels

    for name in ("source", "revision", "version", "created"):
        assert labels[f"org.opencontainers.image.{name}"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])


def test_the_serving_image_claims_what_tests_show_of_it_and_no_more(images: docker.DockerClient) -> None:
    prefix = "com.amazonaws.sagemaker.capabilities."
    claims = {
        name.removeprefix(prefix): value
        for name, value in images.images.get(SERVE).labels.items()
        if name.startswith(prefix)
    }

    assert claims == {
        "accept-bind-to-port": "true",  # tests/container/test_sagemaker_hosting.py
        "multi-models": "true",  # the same
    }


@pytest.mark.parametrize(("image", "word"), [(TRAIN, "serve"), (TRAIN, "predict"), (SERVE, "train")])
def test_the_word_of_the_other_image_is_refused_with_a_hint(
    images: docker.DockerClient, image: str, word: str
) -> None:
    code, output = run(images, image, word)

    assert code == 2
    assert "this is the" in output
    assert "Traceback" not in output


def test_the_serving_image_has_no_torch_no_compiler_and_no_pip(images: docker.DockerClient) -> None:
    program = (
        "import importlib.util as u, json, shutil;"
        "print(json.dumps([n for n in ('torch', 'torchvision', 'pip') if u.find_spec(n)]"
        " + [n for n in ('gcc', 'cc', 'pip', 'uv') if shutil.which(n)]))"
    )

    code, output = run(images, SERVE, entrypoint=["python", "-c", program])

    assert code == 0
    assert json.loads(output) == []


def test_the_training_image_has_the_pinned_stack_and_debugger_imports(images: docker.DockerClient) -> None:
    program = (
        "import json, importlib.metadata as m, smdebug.pytorch;"
        "names = ('torch', 'torchvision', 'sagemaker-training', 'smdebug');"
        "print(json.dumps({name: m.version(name) for name in names}))"
    )

    code, output = run(images, TRAIN, entrypoint=["python", "-c", program])

    assert code == 0, output
    assert json.loads(output.splitlines()[-1]) == {
        "torch": "2.14.1",
        "torchvision": "0.29.1",
        "sagemaker-training": "5.1.4",
        "smdebug": "1.0.34",
    }


def test_no_secret_and_no_cache_lies_in_the_images(images: docker.DockerClient) -> None:
    for image in (TRAIN, SERVE):
        program = (
            "import os, pathlib;"
            "places = map(pathlib.Path, ('/root/.cache', '/run/secrets', '/build', '/var/lib/apt/lists'));"
            "print([str(p) for p in places if p.exists() and any(p.iterdir())],"
            " [n for n in os.environ if 'SECRET' in n or 'TOKEN' in n])"
        )

        code, output = run(images, image, entrypoint=["python", "-c", program])

        assert (code, output.strip()) == (0, "[] []")
