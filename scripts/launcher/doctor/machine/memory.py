"""Training and an endpoint at once take some 3 GB."""

import os
from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine

NEEDED = 3.6e9  # bytes: what a machine sold with 4 GB has left


def look(machine: Machine) -> Iterator[str]:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total < NEEDED:
        yield f"it has {total / 1e9:.1f} GB"


CHECK = Check(
    name="memory",
    holds="the machine has 4 GB of memory",
    severity=Severity.WARNING,
    remedy="lower batch-size and workers, or use a larger machine",
    source="docs/training.md",
    look=look,
)
