"""What a training job would leave out, found by its own look into every picture."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launcher import data_check
from launcher.doctor.check import Check, NotApplicable, Severity
from launcher.doctor.files import layout
from launcher.doctor.placed import Photographs


def look(photographs: Photographs) -> Iterator[str]:
    """Look into every picture; raises WorkFailed where they cannot be trained on."""
    if any(layout.look(photographs)):
        raise NotApplicable("the folders are not as they have to be")
    with tempfile.TemporaryDirectory() as reports:
        unreadable = data_check.check(
            photographs.backend,
            image=photographs.image,
            data=photographs.folder,
            reports=Path(reports),
            stdout=sys.stderr,
        )
    yield from (f"{name} cannot be read" for name in sorted(unreadable))


CHECK = Check(
    name="pictures",
    holds="every picture can be read",
    severity=Severity.WARNING,
    remedy="repair or remove it; prepare_data.py --scan --upload leaves it out",
    source="docs/training.md",
    look=look,
)
