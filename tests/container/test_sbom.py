"""Each image's bill of materials: valid, complete, the same for the same image."""

import json
import subprocess
import sys
from datetime import date
from typing import Any

import docker
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from project import ROOT, SERVE, TRAIN, run_make

from launcher.accepted_findings import problems, read


def listed(image: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docker/sbom.py"), image], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def bills(images: docker.DockerClient) -> dict[str, Any]:
    return {image.partition(":")[0]: json.loads(listed(image)) for image in (SERVE, TRAIN)}


def test_it_is_valid_cyclonedx(bills: dict[str, Any]) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for content in bills.values():
        assert validator.validate_str(json.dumps(content)) is None


def test_it_lists_what_the_image_holds(bills: dict[str, Any]) -> None:
    for image, lock, few in (
        (
            "dog-breeds-serve",
            "serve",
            ("deb/debian/libc6@", "generic/openjdk@17", "generic/nginx@1", "maven/io.netty/"),
        ),
        ("dog-breeds-train", "train", ("deb/debian/libc6@", "pypi/torch@2.14.1")),
    ):
        purls = {part["purl"] for part in bills[image]["components"]}
        assert len(purls) == len(bills[image]["components"])
        lines = (ROOT / f"docker/{lock}.txt").read_text().splitlines()
        pinned = {line.split(" ")[0] for line in lines if "==" in line and " ; " not in line}
        assert pinned
        assert {f"pkg:pypi/{pin.split('[')[0].replace('==', '@')}" for pin in pinned} <= purls
        for part in few:
            assert any(purl.startswith(f"pkg:{part}") for purl in purls), part


def test_the_same_image_gives_the_same_file_as_the_build_left(images: docker.DockerClient) -> None:
    run_make("build-serve")  # from the cache; another test may have built another tag in between
    again = listed(SERVE)
    assert again == listed(SERVE)
    assert (ROOT / "build/dog-breeds-serve.cdx.json").read_text() == again
    digest = json.loads(again)["metadata"]["component"]["hashes"][0]["content"]
    assert images.images.get(SERVE).id == f"sha256:{digest}"


def test_what_is_accepted_is_really_there(bills: dict[str, Any]) -> None:
    accepted = read(ROOT / "docker/accepted-findings.toml")
    assert problems(accepted, today=date.today(), bills=bills) == []


def test_an_image_that_does_not_exist_is_named() -> None:
    command = [sys.executable, str(ROOT / "docker/sbom.py"), "no-such-image"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "sbom.py: no-such-image cannot be listed: " in done.stderr
