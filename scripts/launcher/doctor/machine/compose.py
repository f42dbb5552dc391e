"""The SageMaker SDK's local mode calls `docker compose`."""

from collections.abc import Iterator

from launcher import local_mode
from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine


def look(machine: Machine) -> Iterator[str]:
    if not local_mode.is_ready(machine.environment):
        yield "docker has no compose plugin"


def fix(machine: Machine) -> str:
    """Link the package's plugin to a folder of docker's kind; raises SettingsError where there is none."""
    return f"linked: export DOCKER_CONFIG={local_mode.compose_from_package()} before docker compose"


CHECK = Check(
    name="compose",
    holds="docker has compose, which the SDK's local mode needs",
    severity=Severity.NOTE,
    remedy="--fix links the one of `make setup-local-mode`; or install docker-compose-plugin",
    source="docs/local-mode.md",
    look=look,
    fix=fix,
)
