"""Who asks AWS has to be known to it, and be of the account that the settings name."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine
from launcher.errors import SettingsError, WorkFailed


def look(machine: Machine) -> Iterator[str]:
    machine.must_have_region()
    try:
        machine.identity  # noqa: B018 - it is asked for
    except (SettingsError, WorkFailed) as error:
        yield str(error)


CHECK = Check(
    name="credentials",
    holds="AWS knows who asks, as the account of the settings",
    severity=Severity.WARNING,
    remedy="aws configure, or aws sso login; on this machine alone none are needed",
    source="docs/operations.md",
    look=look,
)
