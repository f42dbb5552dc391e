"""AWS refuses what was signed five minutes ago, or in five minutes."""

import time
from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine

WRONG_SECONDS = 240


def look(machine: Machine) -> Iterator[str]:
    seconds = time.time() - machine.time_at_aws
    if abs(seconds) > WRONG_SECONDS:
        yield f"it is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} AWS's"


CHECK = Check(
    name="clock",
    holds="the clock is right to 4 minutes",
    severity=Severity.ERROR,
    remedy="set it: timedatectl set-ntp true",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html",
    look=look,
)
