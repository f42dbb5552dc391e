"""The training image has 6.6 GB, and building it takes that several times."""

import shutil
from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine

NEEDED = 20e9  # bytes


def look(machine: Machine) -> Iterator[str]:
    free = shutil.disk_usage(machine.checkout).free
    if free < NEEDED:
        yield f"{free / 1e9:.1f} GB are free on the disk of {machine.checkout}"


CHECK = Check(
    name="disk",
    holds="there is room for the images and for results: 20 GB",
    severity=Severity.WARNING,
    remedy="make room: docker system df says what the engine holds, docker system prune frees what is unused",
    source="README.md",
    look=look,
)
