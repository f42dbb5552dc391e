"""A TOML file of config/, read and checked against a model of it. Called by `search` and `settings`."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from launcher.errors import SettingsError


class Section(BaseModel):
    """A table of a file: hyphens in names, no unknown keys, nothing converted."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )


Model = TypeVar("Model", bound=Section)


def read(model: type[Model], file: Path, *, what: str, **overrides: object) -> Model:
    """Read a file that describes `what`, with the command line's values over it.

    An override of None is none. Raises SettingsError naming each wrong key.
    """
    try:
        with file.open("rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"the file of {what}, {file} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not TOML: {error}") from None
    given = {name.replace("_", "-"): value for name, value in overrides.items() if value is not None}
    try:
        return model.model_validate(content | given)
    except ValidationError as error:
        faults = (
            f"  {'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise SettingsError("\n".join([f"{file} does not describe {what}:", *faults])) from None
