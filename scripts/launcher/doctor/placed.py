"""A model on this machine, as the checks below `files` ask for it."""

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher import archives
from launcher.backends import Backend


@dataclass(frozen=True)
class PlacedModel:
    """A model's folder or archive, and what it is served with."""

    place: Path
    backend: Backend
    image: str

    @contextmanager
    def archive(self) -> Iterator[Path]:
        """Give it as model.tar.gz, packed if it is a folder."""
        with contextlib.ExitStack() as stack:
            if not self.place.is_dir():
                yield self.place
                return
            packed = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "model.tar.gz"
            archives.pack(self.place, packed)
            yield packed

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give it as a folder, unpacked if it is an archive; raises WorkFailed for a broken one."""
        with unpacked(self.place) as folder:
            yield folder


@contextmanager
def unpacked(place: Path) -> Iterator[Path]:
    """Give a model's folder, or its archive unpacked for as long as the context lasts."""
    if place.is_dir():
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        archives.unpack(place, Path(folder))
        yield Path(folder)
