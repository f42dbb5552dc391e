"""What `make build` promises beside the images themselves."""

import docker
from project import SERVE, run_make


def test_a_second_build_changes_nothing(images: docker.DockerClient) -> None:
    before = images.images.get(SERVE).attrs["RootFS"]

    again = run_make("build")

    assert again.returncode == 0, again.stderr
    assert images.images.get(SERVE).attrs["RootFS"] == before


def test_an_image_over_its_budget_fails_the_build_and_gets_no_name(images: docker.DockerClient) -> None:
    refused = run_make("build-serve", "BUDGET_MB=10", "TAG=overweight")

    assert refused.returncode == 2  # make's own code for a failed recipe
    assert "its budget 10 MB" in refused.stderr
    assert not images.images.list("dog-breeds-serve:overweight")


def test_without_an_engine_the_build_says_what_to_do() -> None:
    refused = run_make("build", "DOCKER_HOST=tcp://127.0.0.1:9")

    assert refused.returncode == 2
    assert "no Docker engine answers" in refused.stderr
    assert "BACKEND=process" in refused.stderr


def test_a_build_from_nothing_gives_the_same_layers(images: docker.DockerClient) -> None:
    layers = images.images.get(SERVE).attrs["RootFS"]["Layers"]

    rebuilt = run_make("build-serve", "TAG=rebuilt", "NO_CACHE=1")
    try:
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert images.images.get("dog-breeds-serve:rebuilt").attrs["RootFS"]["Layers"] == layers
    finally:
        if images.images.list("dog-breeds-serve:rebuilt"):
            images.images.remove("dog-breeds-serve:rebuilt")
