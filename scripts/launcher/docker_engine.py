"""The Docker engine of this machine: how it is found, and what to do when none answers.

Called by `docker_backend`, `registry`, `push_images.py` and `doctor.py`.
"""

import os
from typing import Any

import docker
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound, NullResource
from requests.exceptions import RequestException

from launcher.errors import SettingsError


def connect(*, timeout: int = 60) -> Any:
    """Return a client of the engine that answers: DOCKER_HOST's, else the chosen docker context's.

    `timeout` is in seconds, for each answer. Raises SettingsError when no engine answers.
    """
    try:
        if os.environ.get("DOCKER_HOST"):
            client = docker.from_env(timeout=timeout)
        else:
            client = docker.DockerClient(base_url=ContextAPI.get_current_context().Host, timeout=timeout)
        client.ping()
    except (DockerException, RequestException) as error:
        raise SettingsError(
            f"no Docker engine answers: {_cause(error)}\n"
            "start it (sudo systemctl start docker, or Docker Desktop), or name another one in DOCKER_HOST"
        ) from None
    return client


def find(client: Any, name: str, *, how: str = "docker pull or docker build brings it") -> Any:
    """Return the engine's image of a name; `how` says what brings it.

    Raises SettingsError where there is none, and for what cannot be an image's name.
    """
    try:
        return client.images.get(name)
    except ImageNotFound:
        raise SettingsError(f"there is no image {name} here: {how}") from None
    except NullResource:
        reason = "it is empty"
    except APIError as error:
        reason = str(error.explanation).rpartition(f"{name}: ")[2]
    raise SettingsError(f"{name!r} is no image's name, such as dog-breeds-serve:latest: {reason}")


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a chain of wrapped connection errors."""
    text = str(error)
    for needle, meaning in {
        "FileNotFoundError": "there is no Docker socket",
        "ConnectionRefusedError": "nothing listens on the Docker socket",
        "Connection refused": "nothing listens at DOCKER_HOST",
        "PermissionError": "this user may not use the Docker socket (add it to the group docker)",
    }.items():
        if needle in text:
            return meaning
    return text
