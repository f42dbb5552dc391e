"""Without an engine jobs and endpoints run as processes."""

from collections.abc import Iterator

from launcher import docker_engine
from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine
from launcher.errors import SettingsError


def look(machine: Machine) -> Iterator[str]:
    try:
        docker_engine.connect().close()
    except SettingsError as error:
        yield str(error).splitlines()[0]


CHECK = Check(
    name="docker",
    holds="a Docker engine answers",
    severity=Severity.WARNING,
    remedy="start it, or do without: --backend process, BACKEND=process",
    source="docs/architecture.md",
    look=look,
)
