"""AWS is asked in a region."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine
from launcher.errors import SettingsError


def look(machine: Machine) -> Iterator[str]:
    try:
        machine.account.region  # noqa: B018 - it is looked for
    except SettingsError as error:
        yield str(error)


CHECK = Check(
    name="region",
    holds="an AWS region is known",
    severity=Severity.NOTE,
    remedy="set region in config/settings.toml, or AWS_REGION; on this machine alone none is needed",
    source="docs/operations.md",
    look=look,
)
