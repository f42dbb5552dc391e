"""Pushing to a real registry, Debian's docker-registry. tests/aws/test_push_to_ecr.py pushes to ECR."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx
import pytest
import real_registry
from project import SERVE, run_make

from launcher.registry import ACCEPTED, ManifestError, Registry, check_media_type

SCRIPT = Path(__file__).parents[2] / "scripts" / "push_images.py"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
AWS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "eu-west-1"}


def push_images(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a person does."""
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | environment,
    )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on a free port, as HOST:PORT."""
    with real_registry.started(tmp_path_factory.mktemp("registry")) as (address, _):
        yield address


@pytest.fixture
def image(engine: docker.DockerClient) -> Iterator[str]:
    """A throw-away image of one small file, as NAME:TAG; all its names are removed afterwards."""
    with real_registry.small_image(engine, f"push-test-{secrets.token_hex(4)}", "local") as name:
        yield name


def test_a_pushed_image_has_the_manifest_that_sagemaker_takes_and_comes_back_the_same(
    engine: docker.DockerClient, registry: str, image: str
) -> None:
    pushed = push_images(image, "--registry", registry, "--tag", "1.0")

    assert pushed.returncode == 0, pushed.stderr
    repository = image.partition(":")[0]
    name, _, digest = pushed.stdout.strip().partition("@")
    assert name == f"{registry}/{repository}:1.0"
    everything = {"Accept": f"{OCI_INDEX}, application/vnd.oci.image.manifest.v1+json, {ACCEPTED}"}
    answer = httpx.head(f"http://{registry}/v2/{repository}/manifests/1.0", headers=everything)
    assert answer.headers["Content-Type"] == ACCEPTED
    assert answer.headers["Docker-Content-Digest"] == digest

    before = engine.images.get(image).id
    engine.images.remove(name)
    engine.images.remove(image)
    assert engine.images.pull(name.rpartition(":")[0], tag="1.0").id == before


def test_make_push_takes_the_serving_image_there_and_what_is_pulled_runs(
    images: docker.DockerClient, registry: str
) -> None:
    name = f"{registry}/dog-breeds-serve"

    pushed = run_make("push", f"REGISTRY={registry}", "TAG=latest", f"IMAGES={SERVE}")

    assert pushed.returncode == 0, pushed.stderr
    digest = pushed.stdout.strip().rpartition("@")[2]
    answer = httpx.head(
        f"http://{registry}/v2/dog-breeds-serve/manifests/latest", headers={"Accept": ACCEPTED}
    )
    assert (answer.headers["Content-Type"], answer.headers["Docker-Content-Digest"]) == (ACCEPTED, digest)
    images.images.remove(f"{name}:latest")
    pulled = images.images.pull(f"{name}@{digest}")
    try:
        assert pulled.id == images.images.get(SERVE).id
        usage = images.containers.run(pulled.id, ["predict", "--help"], remove=True, network_mode="none")
        assert b"Name the breeds" in usage
    finally:
        images.images.remove(f"{name}@{digest}")


def test_an_oci_index_in_the_registry_is_refused(registry: str, image: str) -> None:
    assert push_images(image, "--registry", registry, "--tag", "plain").returncode == 0
    repository = image.partition(":")[0]
    place = Registry(registry, secure=False)
    plain = place.manifest(repository, "plain")
    size = int(
        httpx.head(
            f"http://{registry}/v2/{repository}/manifests/plain", headers={"Accept": ACCEPTED}
        ).headers["Content-Length"]
    )
    child = {
        "mediaType": plain.media_type,
        "digest": plain.digest,
        "size": size,
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}
    put = httpx.put(
        f"http://{registry}/v2/{repository}/manifests/index",
        content=json.dumps(index),
        headers={"Content-Type": OCI_INDEX},
    )
    assert put.status_code == 201, put.text

    found = place.manifest(repository, "index")

    assert found.media_type == OCI_INDEX
    with pytest.raises(ManifestError, match="--provenance=false"):
        check_media_type(repository, found.media_type)


def test_several_images_keep_their_names_below_a_path_of_the_registry(registry: str, image: str) -> None:
    pushed = push_images(image, image, "--registry", f"{registry}/team/dogs", "--tag", "x")

    assert pushed.returncode == 0, pushed.stderr
    repository = f"team/dogs/{image.partition(':')[0]}"
    lines = pushed.stdout.splitlines()
    assert [line.partition("@")[0] for line in lines] == [f"{registry}/{repository}:x"] * 2
    assert httpx.get(f"http://{registry}/v2/{repository}/tags/list").json()["tags"] == ["x"]


def test_an_image_that_was_not_built_is_a_wrong_argument(engine: docker.DockerClient) -> None:
    answer = push_images("never-built-image", "--registry", "127.0.0.1:9")

    assert answer.returncode == 2
    assert answer.stderr.strip() == "error: there is no image never-built-image here: `make build` makes it"


def test_a_registry_that_does_not_listen_fails_with_its_name(image: str) -> None:
    answer = push_images(image, "--registry", f"127.0.0.1:{real_registry.free_port()}")

    assert answer.returncode == 1
    assert "cannot be pushed" in answer.stderr and "connection refused" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_registry_with_a_scheme_is_a_wrong_argument(image: str) -> None:
    answer = push_images(image, "--registry", "https://example.com")

    assert answer.returncode == 2
    assert "is no registry" in answer.stderr


def test_no_engine_is_said_plainly() -> None:
    answer = push_images("any", "--registry", "127.0.0.1:9", DOCKER_HOST="unix:///nowhere/docker.sock")

    assert answer.returncode == 2
    assert answer.stderr.startswith("error: no Docker engine answers")
    assert "Traceback" not in answer.stderr


def test_ecr_without_credentials_says_how_to_get_some(image: str, tmp_path: Path) -> None:
    nothing = {name: "" for name in (*AWS, "AWS_PROFILE") if name in os.environ} | {
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    answer = push_images(image, "--registry", "ecr", "--tag", "1", **nothing)

    assert answer.returncode == 2
    assert "error: there are no AWS credentials: `aws configure`" in answer.stderr
