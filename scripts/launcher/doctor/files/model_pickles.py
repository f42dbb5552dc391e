"""A pickle runs code where it is read; the artifact has none, and the server reads none."""

from collections.abc import Iterator

from launcher.doctor.check import Check, NotApplicable, Severity
from launcher.doctor.placed import PlacedModel
from launcher.errors import WorkFailed

SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".joblib"}


def look(model: PlacedModel) -> Iterator[str]:
    """Look at the files' names."""
    try:
        with model.folder() as folder:
            found = [path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES]
            yield from (f"{path.relative_to(folder)} is a pickle, by its name" for path in found)
    except WorkFailed:
        raise NotApplicable("the archive cannot be unpacked") from None


CHECK = Check(
    name="model-pickles",
    holds="there is no pickle in it",
    severity=Severity.WARNING,
    remedy="leave it out: whoever loads it runs what is in it",
    source="docs/artifact.md",
    look=look,
)
