"""What the SDK's local mode gets from this machine, with a `docker` command of the test's own."""

import os
import subprocess
from pathlib import Path

import pytest

from launcher import local_mode
from launcher.errors import SettingsError


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A docker command that knows compose only where there is a plugin in its configuration's folder."""
    command = tmp_path / "bin/docker"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nexec "$DOCKER_CONFIG/cli-plugins/docker-$1" "$2"\n', encoding="ascii")
    command.chmod(0o755)
    return command


def given(docker: Path, **others: str) -> dict[str, str]:
    return {"PATH": f"{docker.parent}:{os.environ['PATH']}", "DOCKER_CONFIG": "/nowhere", **others}


def test_what_is_missing_is_added(docker: Path) -> None:
    added = local_mode.environment(given(docker))

    assert "TelemetryOptOut: true" in Path(added["SAGEMAKER_USER_CONFIG_OVERRIDE"]).read_text(
        encoding="utf-8"
    )
    assert (added["AWS_DEFAULT_REGION"], added["AWS_EC2_METADATA_DISABLED"]) == ("us-east-1", "true")


def test_what_a_person_has_set_is_left_alone(docker: Path) -> None:
    own = {"AWS_DEFAULT_REGION": "eu-west-1", "SAGEMAKER_USER_CONFIG_OVERRIDE": "own.yaml"}

    assert not own.keys() & local_mode.environment(given(docker, **own)).keys()


def test_the_region_of_the_newer_variable_is_taken_over(docker: Path) -> None:
    assert local_mode.environment(given(docker, AWS_REGION="eu-west-1"))["AWS_DEFAULT_REGION"] == "eu-west-1"


def test_docker_without_compose_gets_that_of_the_package_and_keeps_it(docker: Path) -> None:
    first = local_mode.environment(given(docker))
    second = local_mode.environment(given(docker, DOCKER_CONFIG=first["DOCKER_CONFIG"]))

    plugin = Path(first["DOCKER_CONFIG"], "cli-plugins/docker-compose")
    assert "v2." in subprocess.run([plugin, "version"], capture_output=True, text=True, check=True).stdout
    assert "DOCKER_CONFIG" not in second


def test_a_machine_without_docker_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no docker command"):
        local_mode.environment({"PATH": str(tmp_path)})
