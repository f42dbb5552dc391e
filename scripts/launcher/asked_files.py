"""The files that an endpoint is asked about: of this machine, and of S3, from where they are brought.

Called by `asking`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from launcher import evaluation, pictures
from launcher.errors import SettingsError
from launcher.predictions import Prediction
from launcher.s3 import Prefix

NPY = ".npy"


class AskedFiles:
    """What a command line names; `scratch` is where the files of S3 are brought."""

    def __init__(self, places: Iterable[str], scratch: Path) -> None:
        """Raises SettingsError for what is not there."""
        self._uris: dict[Path, str] = {}
        self.paths = [
            self._brought(place, scratch / str(number)) if "://" in place else Path(place)
            for number, place in enumerate(places)
        ]

    def _brought(self, uri: str, folder: Path) -> Path:
        """Bring the pictures below a prefix, or one file, and return where they are."""
        alone = _is_asked(uri)
        place = uri.rpartition("/")[0] if alone else uri
        prefix = Prefix(place)
        found = {name: size for name, size in prefix.files().items() if _is_asked(name)}
        wanted = {name: size for name, size in found.items() if not alone or f"{place}/{name}" == uri}
        if not wanted:
            raise SettingsError(f"{uri} has no pictures: looked for {' '.join(sorted(pictures.SUFFIXES))}")
        prefix.fetch(wanted, folder)
        self._uris[folder] = prefix.uri
        return folder / next(iter(wanted)) if alone else folder

    def files(self) -> list[Path]:
        """Return all files; raises SettingsError where there are none."""
        return pictures.find(self.paths)

    def classes(self) -> Mapping[Path, str]:
        """Return the class of each picture: its folder's, directly below what the command line names."""
        if not all(path.is_dir() for path in self.paths):
            raise SettingsError(
                "--compare takes folders that hold a folder for each class, such as dogs/test"
            )
        return {file: name for path in self.paths for file, name in evaluation.split_files(path).items()}

    def named(self, prediction: Prediction) -> Prediction:
        """Call a file of S3 by its URI."""
        for folder, uri in self._uris.items():
            if prediction.file.startswith(f"{folder}/"):
                return replace(prediction, file=uri + prediction.file.removeprefix(str(folder)))
        return prediction


def _is_asked(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in pictures.SUFFIXES | {NPY}
