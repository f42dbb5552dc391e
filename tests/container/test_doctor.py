"""The doctor finds what is wrong with an image, and nothing else; the project's own images pass."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bad_images
import docker
import httpx
import pytest
import real_registry
import script
from project import ROOT, SERVE, TRAIN
from tiny_artifact import write_tiny_artifact

from launcher.docker_backend import LABEL
from launcher.doctor import catalogue
from launcher.doctor.examination import Result

OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def own_images(
    images: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The doctor at work on both of our images, beside the bad ones: the large one takes minutes."""
    model = write_tiny_artifact(tmp_path_factory.mktemp("own") / "model")
    started = {SERVE: start(SERVE, "--model", model), TRAIN: start(TRAIN)}
    yield started
    for process in started.values():
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def results(
    own_images: object, images: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[Result]]]:
    """What was found of every image of `bad_images`."""
    with bad_images.examined(images, tmp_path_factory.mktemp("bad-images")) as found:
        yield found


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start the script as a person does."""
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts/doctor.py", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ending(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    """Wait for the script; returns its exit code and what it has printed."""
    printed, said = process.communicate(timeout=800)
    assert printed, said
    return process.returncode, json.loads(printed)


@pytest.mark.parametrize("name", bad_images.BAD)
def test_the_planted_fault_is_found_and_no_other(results: dict[str, list[Result]], name: str) -> None:
    found = {result.name: result.found for result in results[name] if result.found}

    assert set(found) == {bad_images.BAD[name].finds} - {""}, found


@pytest.mark.parametrize("name", ["nothing", "it-only-trains", "it-only-serves", "its-own-user"])
def test_of_an_image_that_is_fine_nothing_is_left_unjudged(
    results: dict[str, list[Result]], name: str
) -> None:
    assert not {result.name: result.unjudged for result in results[name] if result.unjudged}


def test_of_an_image_that_only_trains_what_an_endpoint_does_is_skipped_and_that_is_said(
    results: dict[str, list[Result]],
) -> None:
    skipped = {result.name: result.skipped for result in results["it-only-trains"]}

    assert skipped["ping-time"] == "it does not answer `serve`"
    assert not skipped["stop-training"]


def test_what_another_machine_runs_is_not_judged_here(results: dict[str, list[Result]]) -> None:
    unjudged = {result.name: result.unjudged for result in results["another-machine"] if result.unjudged}

    assert {"words", "healthy", "stop-training", "user"} <= unjudged.keys()
    assert not {"architecture", "size", "secrets"} & unjudged.keys()
    (reason,) = set(unjudged.values())
    assert reason.startswith("it is built for arm64, which this engine cannot run")


@pytest.mark.parametrize(
    ("name", "check", "says"),
    [
        ("a-shell-as-entrypoint", "entrypoint", "sh -c takes the word for its $0"),
        ("a-shell-that-stays", "stop-serving", "sh -c without exec before the program"),
        (
            "echo",
            "words",
            "train ends with 0 and leaves no model, serve with 0, like a word that means",
        ),
        ("silent", "healthy", "serve goes on, GET /ping is not answered: nothing listens there"),
        (
            "cannot-predict",
            "invocations",
            "application/json is answered 404, application/x-npy is answered 500",
        ),
        ("on-loopback", "healthy", "(it listens on 127.0.0.1:8080 alone, inside the container"),
        (
            "names-its-port",
            "healthy",
            "(it listens on port 9000, as the image's own SAGEMAKER_BIND_TO_PORT",
        ),
        ("dripping-ping", "healthy", "GET /ping is answered 200 without an end"),
    ],
)
def test_a_finding_says_what_was_seen(
    results: dict[str, list[Result]], name: str, check: str, says: str
) -> None:
    (found,) = (result.found for result in results[name] if result.name == check)

    assert says in found[0]


def test_every_check_of_an_image_has_a_bad_image() -> None:
    by_registry = {"manifest"}

    assert {check.name for check in catalogue.IMAGE} - by_registry == {
        bad.finds for bad in bad_images.BAD.values()
    } - {""}


def checks(answer: dict[str, Any], key: str) -> dict[str, Any]:
    return {check["name"]: check[key] for check in answer["checks"] if check[key]}


def test_the_serving_image_passes(own_images: dict[str, subprocess.Popen[str]]) -> None:
    code, answer = ending(own_images[SERVE])

    assert checks(answer, "found") == {}
    assert checks(answer, "unjudged") == {}
    assert code == 0
    assert checks(answer, "skipped").keys() == {"manifest", "stop-training", "failure-file"}


def test_the_training_image_passes(own_images: dict[str, subprocess.Popen[str]]) -> None:
    code, answer = ending(own_images[TRAIN])

    assert checks(answer, "found") == {}
    assert checks(answer, "unjudged") == {}
    assert code == 0
    assert not checks(answer, "skipped").keys() & {"secrets", "stop-training", "failure-file", "user"}


def test_an_index_in_a_registry_is_found(engine: docker.DockerClient, tmp_path: Path) -> None:
    name = f"doctor-test-{secrets.token_hex(4)}"
    with (
        real_registry.started(tmp_path) as (address, _),
        real_registry.small_image(engine, name, "local") as image,
    ):
        engine.images.get(image).tag(f"{address}/{name}", "index")
        engine.images.push(f"{address}/{name}", "index")
        put_index(f"http://{address}/v2/{name}/manifests/index")
        try:
            code, answer = ending(start(f"{address}/{name}:index"))
        finally:
            engine.images.remove(f"{address}/{name}:index")

    assert code == 4
    assert OCI_INDEX in checks(answer, "found")["manifest"][0]


def put_index(url: str) -> None:
    """Put an index in the place of a manifest, over it."""
    plain = httpx.get(url, headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"})
    child = {
        "mediaType": plain.headers["Content-Type"],
        "digest": plain.headers["Docker-Content-Digest"],
        "size": len(plain.content),
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}
    httpx.put(url, content=json.dumps(index), headers={"Content-Type": OCI_INDEX}).raise_for_status()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("never-built-image", "there is no image never-built-image here"),
        ("UPPER/Case", "'UPPER/Case' is no image's name, such as dog-breeds-serve:latest: invalid reference"),
        ("a b", "'a b' is no image's name, such as dog-breeds-serve:latest: invalid reference format"),
        ("", "'' is no image's name, such as dog-breeds-serve:latest: it is empty"),
    ],
)
def test_an_image_that_is_not_here_is_a_wrong_argument(
    engine: docker.DockerClient, name: str, said: str
) -> None:
    ended = script.run("doctor", name)

    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr


def test_no_container_and_no_network_is_left(
    images: docker.DockerClient,
    results: dict[str, list[Result]],
    own_images: dict[str, subprocess.Popen[str]],
) -> None:
    assert results
    for process in own_images.values():
        process.wait(800)

    left = [
        *images.containers.list(all=True, ignore_removed=True, filters={"label": LABEL}),
        *images.networks.list(filters={"label": LABEL}),
    ]
    assert not [each.name for each in left if each.name.startswith("doctor-")]
