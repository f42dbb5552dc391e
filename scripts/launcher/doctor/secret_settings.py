"""Secrets in what an image says of itself: its variables, its labels, the commands that it was built with.

Called by `examined_image`. A secret is named by its kind and its place, and never shown.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from launcher.doctor import secret_kinds


def found_in(config: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what looks like a secret in variables, labels and the commands that the image was built with."""
    variables = dict(each.partition("=")[::2] for each in config.get("Env") or [])
    told = []
    for name, value in variables.items():
        for kind in secret_kinds.kinds_of_value(name, value):
            yield f"{kind} in the variable {name}"
            told.append(f"{name}={value}")
    for name, value in (config.get("Labels") or {}).items():
        for kind in secret_kinds.kinds_in_setting(value):
            yield f"{kind} in the label {name}"
            told.append(value)
    for step in history:
        command = step.get("CreatedBy") or ""
        for each in told:
            command = command.replace(each, "")
        yield from secret_kinds.told_in(command, "the build's history")
