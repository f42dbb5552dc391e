"""The training image has 6.6 GB, and building it takes that several times."""

import shutil
from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine

NEEDED = 20e9  # bytes


def look(machine: Machine) -> Iterator[str]:
    disks = {place.stat().st_dev: place for place in (machine.images, machine.checkout) if place}
    for place in disks.values():
        free = shutil.disk_usage(place).free
        if free < NEEDED:
            yield f"{free / 1e9:.1f} GB are free on the disk of {place}"


CHECK = Check(
    name="disk",
    holds="there is room for the images, where the engine keeps them, and for results: 20 GB",
    severity=Severity.WARNING,
    remedy="make room: docker system df says what the engine holds, docker system prune frees what is unused",
    source="README.md",
    look=look,
)
