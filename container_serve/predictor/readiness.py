"""What the workers tell the supervisor, by files in a folder that only they share.

Written by `handler_service.py` in every worker, read by `predictor.supervisor`. To the model server a worker
is ready from the start, whether it has a model or not.
"""

import os
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "PREDICTOR_READY_FOLDER"  # from the supervisor to the workers
_FAILURE = "failure"


@dataclass(frozen=True)
class Readiness:
    """The folder: a file named by its process id from each worker that can answer, and why one cannot."""

    folder: Path

    @classmethod
    def of_supervisor(cls) -> "Readiness | None":
        """The folder that the supervisor named; None where this process runs without one."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(folder)) if folder else None

    def announce(self) -> None:
        """Say that this process has loaded the model and can answer."""
        (self.folder / str(os.getpid())).touch()

    def announce_failure(self, reason: str) -> None:
        """Say why this process cannot load the model."""
        partial = self.folder / f".{os.getpid()}"
        partial.write_text(reason)
        partial.replace(self.folder / _FAILURE)

    def failure(self) -> str | None:
        """Why a worker could not load the model; None if none has said so."""
        try:
            return (self.folder / _FAILURE).read_text()
        except FileNotFoundError:
            return None

    def workers(self) -> int:
        """How many workers that can answer are alive."""
        announced = [file for file in self.folder.iterdir() if file.name.isdigit()]
        gone = [file for file in announced if not _is_alive(file.name)]
        for file in gone:  # another process may get its number
            file.unlink()
        return len(announced) - len(gone)


def _is_alive(process: str) -> bool:
    """Whether there is such a process that has not ended; one may have, and wait for its parent to notice."""
    try:
        after_name = Path("/proc", process, "stat").read_text().rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return after_name.split()[0] != "Z"
