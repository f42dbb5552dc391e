"""A container's first process, as the kernel of this machine shows it, whatever programs the image has.

Called by `sandbox`.
"""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from launcher.doctor.listening import Place, places_in

_CAUGHT = re.compile(r"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)


@dataclass(frozen=True)
class FirstProcess:
    """A process by its number here; of one that has ended, or is another machine's, nothing is seen."""

    number: int

    def catches(self, number: signal.Signals) -> bool:
        """Tell whether it has installed a handler for a signal.

        https://docs.kernel.org/filesystems/proc.html, `SigCgt`
        """
        caught = _CAUGHT.search(self._told("status"))
        return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)

    def places(self) -> tuple[Place, ...]:
        """Return where it and the processes beside it listen."""
        tables = (self._told(f"net/{name}") for name in ("tcp", "tcp6"))
        return tuple(sorted({place for table in tables for place in places_in(table)}))

    def _told(self, name: str) -> str:
        try:
            return Path(f"/proc/{self.number}/{name}").read_text()
        except OSError:  # it has just ended
            return ""
