"""A model.tar.gz comes from elsewhere: it has to be whole, of plain files, below one folder."""

from collections.abc import Iterator

from launcher.doctor.check import Check, Severity
from launcher.doctor.placed import PlacedModel
from launcher.errors import WorkFailed


def look(model: PlacedModel) -> Iterator[str]:
    """Unpack it, or pack it."""
    try:
        with model.archive(), model.folder():
            pass
    except WorkFailed as error:
        yield str(error)


CHECK = Check(
    name="unpacks",
    holds="the archive is whole, and holds plain files below one folder",
    severity=Severity.ERROR,
    remedy="copy it again, or pack the model's folder anew: tar -czf model.tar.gz -C FOLDER .",
    source="docs/artifact.md",
    look=look,
)
