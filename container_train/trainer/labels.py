"""The names of the classes for people. Called by the export and the report card."""

import re


def label_of(name: str) -> str:
    """A class folder's name for people: `002.Afghan_hound` → `Afghan hound`."""
    return re.sub(r"^\d+\.", "", name).replace("_", " ")
