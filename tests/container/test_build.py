"""What `make build` promises beside the images themselves."""

import os
import subprocess

import docker
from tests.container.conftest import ROOT, SERVE, run_make


def build(image: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run docker/build.sh with settings from the environment."""
    return subprocess.run(
        ["docker/build.sh", image],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_a_second_build_changes_nothing(images: docker.DockerClient) -> None:
    before = images.images.get(SERVE).attrs["RootFS"]

    again = run_make("build")

    assert again.returncode == 0, again.stderr
    assert images.images.get(SERVE).attrs["RootFS"] == before


def test_an_image_over_its_budget_fails_the_build_and_gets_no_name(images: docker.DockerClient) -> None:
    refused = build("serve", BUDGET_MB="10", TAG="overweight", DOCKER=docker_client())

    assert refused.returncode == 1
    assert "its budget 10 MB" in refused.stderr
    assert not images.images.list("dog-breeds-serve:overweight")


def test_without_an_engine_the_build_says_what_to_do() -> None:
    refused = build("serve", DOCKER_HOST="tcp://127.0.0.1:9", DOCKER=docker_client())

    assert refused.returncode == 1
    assert "no Docker engine answers" in refused.stderr
    assert "BACKEND=process" in refused.stderr


def test_a_build_from_nothing_gives_the_same_layers(images: docker.DockerClient) -> None:
    layers = images.images.get(SERVE).attrs["RootFS"]["Layers"]

    rebuilt = build("serve", TAG="rebuilt", NO_CACHE="1", DOCKER=docker_client())
    try:
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert images.images.get("dog-breeds-serve:rebuilt").attrs["RootFS"]["Layers"] == layers
    finally:
        if images.images.list("dog-breeds-serve:rebuilt"):
            images.images.remove("dog-breeds-serve:rebuilt")


def docker_client() -> str:
    """The client that the Makefile takes."""
    shown = subprocess.run(
        ["make", "--eval", "client:;@echo $(DOCKER)", "client"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout.strip()
