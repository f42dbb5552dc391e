"""train/, valid/ and test/ with the same classes in each."""

from collections.abc import Iterator

from launcher.datasets import DatasetError, read_image_folder
from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_photographs import Photographs


def look(photographs: Photographs) -> Iterator[str]:
    """Read the folders' names."""
    try:
        read_image_folder(photographs.folder)
    except DatasetError as error:
        yield str(error)


CHECK = Check(
    name="layout",
    holds="there are train/, valid/ and test/, with pictures of the same classes in each",
    severity=Severity.ERROR,
    remedy="give every split a sub-folder for each class",
    source="docs/training.md",
    look=look,
)
