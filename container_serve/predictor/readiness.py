"""What supervisor and workers tell each other, by files in a folder that only they share.

Written by `handler_service.py` in every worker, read by `predictor.supervisor` and `predictor.catalogue`. To
the model server a worker is ready from the start, whether it has a model or not.
"""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "PREDICTOR_READY_FOLDER"  # from the supervisor to the workers: a folder in it a model
UNSERVABLE = "the model cannot be served"  # how the reason begins where the model is to blame
RECOVERY_SECONDS = 8.0  # for a killed worker to be back; it takes 1 to 2
_MODEL, _FAILURE = "model", "failure"


@dataclass(frozen=True)
class Readiness:
    """A model's folder: where the model lies, a file named by its process id from each worker that can answer
    it, and why one cannot.
    """

    folder: Path

    @classmethod
    def begin(cls, parent: Path, model: str, model_folder: Path) -> "Readiness":
        """Tell the workers of `model` to come where its artifact lies."""
        readiness = cls(parent / model)
        readiness.folder.mkdir(parents=True)
        (readiness.folder / _MODEL).write_bytes(os.fsencode(model_folder))
        return readiness

    @classmethod
    def of_supervisor(cls, model: str) -> "Readiness | None":
        """The folder that the supervisor named; None where this process runs without one."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(folder) / model) if folder else None

    def end(self) -> None:
        """Forget the model and its workers."""
        shutil.rmtree(self.folder)

    def model_folder(self) -> Path:
        """Where the model's artifact lies."""
        return Path(os.fsdecode((self.folder / _MODEL).read_bytes()))

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


class RollCall:
    """Looks, time and again, whether the workers of a model are all there."""

    def __init__(self, readiness: Readiness, *, workers: int) -> None:
        """Begin at a moment when all `workers` are there."""
        self._readiness, self._workers = readiness, workers
        self._complete = time.monotonic()

    def lost(self) -> str | None:
        """Why the model can no longer be answered; None as long as it can, or will be able to soon."""
        if reason := self._readiness.failure():
            return reason
        alive = self._readiness.workers()
        if alive >= self._workers:
            self._complete = time.monotonic()
        elif time.monotonic() - self._complete > RECOVERY_SECONDS:
            return (
                f"only {alive} of {self._workers} workers are alive, and the model server has not brought "
                f"the others back within {RECOVERY_SECONDS:g} s. The log above may say why."
            )
        return None


def _is_alive(process: str) -> bool:
    """Whether there is such a process that has not ended; one may have, and wait for its parent to notice."""
    try:
        after_name = Path("/proc", process, "stat").read_text().rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return after_name.split()[0] != "Z"
