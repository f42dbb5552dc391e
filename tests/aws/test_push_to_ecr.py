"""Pushing to ECR: moto has the account, and a real registry takes the images in ECR's place."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import docker
import httpx
import pytest
import real_registry
from cloud import Answer, Cloud

from launcher import revision

SCRIPT = Path(__file__).parents[2] / "scripts/push_images.py"
TOKEN = base64.b64encode(b"AWS:secret").decode()


def push(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the script as a person does."""
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def registry(cloud: Cloud, tmp_path: Path) -> Iterator[str]:
    """A registry that the account names as its own, as HOST:PORT."""
    with real_registry.started(tmp_path) as (address, _):
        login = {"authorizationToken": TOKEN, "proxyEndpoint": f"http://{address}"}
        cloud.replies["ecr:GetAuthorizationToken"] = lambda _: Answer({"authorizationData": [login]})
        yield address


def settings(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def tags(registry: str, repository: str) -> list[str]:
    return list(httpx.get(f"http://{registry}/v2/{repository}/tags/list").json()["tags"])


def test_an_image_goes_to_the_settings_repository_under_the_revision_it_was_built_from(
    registry: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    if subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", *revision.SOURCES], cwd=revision.ROOT, check=False
    ).returncode:
        pytest.skip("what the images are built from has changes here that are not committed")
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True, cwd=revision.ROOT).strip()
    file = settings(tmp_path, '[images]\nserve = "team/dogs"\n')
    tag = revision.of_images()
    with real_registry.small_image(engine, "dog-breeds-serve", "push-ecr", {revision.LABEL: commit}) as image:
        first = push(image, "--settings", file)
        again = push(image, "--settings", file)

    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"{registry}/team/dogs:{tag}@sha256:")
    assert tags(registry, "team/dogs") == [tag]
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    (made,) = boto3.client("ecr").describe_repositories()["repositories"]
    assert (made["repositoryName"], made["imageTagMutability"]) == ("team/dogs", "IMMUTABLE")
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}


def test_a_tag_never_moves(registry: str, engine: docker.DockerClient) -> None:
    with (
        real_registry.small_image(engine, "push-ecr", "one") as one,
        real_registry.small_image(engine, "push-ecr", "two") as two,
    ):
        first, other = push(one, "--tag", "1.0"), push(two, "--tag", "1.0")

    assert first.returncode == 0, first.stderr
    assert "images.tag in the settings makes them take 1.0" in first.stderr
    assert other.returncode == 2
    assert "push-ecr:1.0 is another image already, and tags do not move" in other.stderr


@pytest.mark.usefixtures("registry")
def test_an_image_that_is_not_of_the_revision_is_not_pushed_as_that(engine: docker.DockerClient) -> None:
    with real_registry.small_image(engine, "push-ecr", "old", {revision.LABEL: "0" * 40}) as image:
        refused = push(image)

    assert refused.returncode == 2
    assert f"{image} was built from {'0' * 40}" in refused.stderr
    assert "`make build`, push again" in refused.stderr


@pytest.mark.usefixtures("registry")
def test_an_image_of_another_architecture_than_its_instances_is_not_pushed(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    other = {"amd64": "ml.c7g.large", "arm64": "ml.m5.large"}
    with real_registry.small_image(engine, "dog-breeds-serve", "push-ecr-other") as image:
        built = engine.images.get(image).attrs["Architecture"]
        refused = push(
            image, "--settings", settings(tmp_path, f'[endpoint]\ninstance-type = "{other[built]}"\n')
        )

    assert refused.returncode == 2
    assert f"is built for {built}, and {other[built]} is" in refused.stderr
    assert "PLATFORM=linux/" in refused.stderr


@pytest.mark.usefixtures("registry")
def test_a_repository_that_is_somebodys_is_pushed_to_and_left_as_it_is(engine: docker.DockerClient) -> None:
    boto3.client("ecr").create_repository(repositoryName="push-ecr")
    with real_registry.small_image(engine, "push-ecr", "three") as image:
        done = push(image, "--tag", "1")

    assert done.returncode == 0, done.stderr
    (there,) = boto3.client("ecr").describe_repositories()["repositories"]
    assert there["imageTagMutability"] == "MUTABLE"


def test_a_host_names_its_own_account_and_region(
    cloud: Cloud, engine: docker.DockerClient, tmp_path: Path
) -> None:
    other = settings(tmp_path, 'account = "123123123123"\n')
    cloud.replies["ecr:GetAuthorizationToken"] = lambda _: Answer({"__type": "AccessDeniedException"}, 400)
    with real_registry.small_image(engine, "push-ecr", "four") as image:
        host = "210987654321.dkr.ecr.us-west-2.amazonaws.com"
        refused = push(image, "--tag", "1", "--registry", host, "--settings", other)

    assert refused.returncode == 2
    assert "may not do GetAuthorizationToken" in refused.stderr
    assert "sts:GetCallerIdentity" not in cloud.actions  # the host says it
