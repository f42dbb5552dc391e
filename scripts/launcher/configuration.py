"""A TOML file of config/, read and checked against a model of it. Called by `search` and `settings`."""

import tomllib
from collections.abc import Mapping
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
    return _validated(model, content | _given(overrides), f"{file} does not describe {what}:")


def changed(section: Model, what: str, **overrides: object) -> Model:
    """Return a section with the command line's values over it; raises SettingsError naming each wrong one.

    An override of None is none.
    """
    content = section.model_dump(by_alias=True) | _given(overrides)
    return _validated(type(section), content, f"this is not possible for {what}:")


def _given(overrides: Mapping[str, object]) -> dict[str, object]:
    return {name.replace("_", "-"): value for name, value in overrides.items() if value is not None}


def _validated(model: type[Model], content: Mapping[str, object], otherwise: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = [f"  {_fault(fault['loc'], fault['msg'])}" for fault in error.errors()]
        raise SettingsError("\n".join([otherwise, *faults])) from None


def _fault(place: tuple[int | str, ...], message: str) -> str:
    """Name the key, which a rule about several of them does not have."""
    where = ".".join(map(str, place))
    return f"{where}: " * bool(where) + message.removeprefix("Value error, ")
