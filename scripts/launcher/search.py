"""What a search for hyperparameters tries and when it ends: config/hpo.toml, read and checked.

Called by scripts/launch_hpo.py; `tuning_request` turns it into the request of the SageMaker API.
"""

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from launcher.errors import SettingsError

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "config/hpo.toml"
Strategy = Literal["Bayesian", "Random", "Hyperband", "Grid"]
STRATEGIES = get_args(Strategy)
Scale = Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]


class _Section(BaseModel):
    """A table of the file: hyphens in names, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )


class Range(_Section):
    """The values of one hyperparameter: an interval with both ends, or a list."""

    continuous: tuple[float, float] | None = Field(default=None, strict=False)
    integer: tuple[int, int] | None = Field(default=None, strict=False)
    categorical: list[int | float | str | bool] | None = Field(default=None, min_length=1)
    scale: Scale = "Auto"

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [self.continuous, self.integer, self.categorical]
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("needs exactly one of continuous, integer, categorical")
        if self.categorical is not None and self.scale != "Auto":
            raise ValueError("a list has no scale")
        return self


class End(_Section):
    """What ends a search before its last trial."""

    target: float | None = Field(default=None, allow_inf_nan=False)
    trials_without_improvement: int | None = Field(default=None, ge=3)
    converged: bool = False


class Hyperband(_Section):
    """The epochs that Hyperband gives to the worst and to the best trials."""

    min_epochs: PositiveInt = 1
    max_epochs: PositiveInt = 5


class Search(_Section):
    """The whole file."""

    strategy: Strategy = "Bayesian"
    objective: str = "validation:accuracy"
    goal: Literal["Maximize", "Minimize"] = "Maximize"
    max_trials: PositiveInt = 6
    max_parallel_trials: PositiveInt = 2
    early_stopping: Literal["Auto", "Off"] = "Auto"
    spot: bool = True
    seed: int | None = Field(default=None, ge=0)
    max_runtime_seconds: int | None = Field(default=None, ge=120, le=15_768_000)
    end: End = End()
    hyperband: Hyperband = Hyperband()
    ranges: dict[str, Range]

    def without(self, fixed: Collection[str]) -> Self:
        """Return the same search over the other ranges; raises SettingsError where none is left."""
        left = {name: each for name, each in self.ranges.items() if name not in fixed}
        if not left:
            raise SettingsError(f"nothing is left to search: {', '.join(fixed)} are given a value")
        return self.model_copy(update={"ranges": left})


def read(file: Path, **overrides: object) -> Search:
    """Read the file, with the command line's values over it; raises SettingsError naming each wrong key."""
    try:
        with file.open("rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"the search's settings {file} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not TOML: {error}") from None
    given = {name.replace("_", "-"): value for name, value in overrides.items() if value is not None}
    try:
        return Search.model_validate(content | given)
    except ValidationError as error:
        faults = (
            f"  {'.'.join(map(str, fault['loc']))}: {_message(fault['msg'])}" for fault in error.errors()
        )
        raise SettingsError("\n".join([f"{file} does not describe a search:", *faults])) from None


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")
