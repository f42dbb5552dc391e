"""What a search for hyperparameters tries and when it ends: config/hpo.toml, read and checked.

Called by scripts/launch_hpo.py; `tuning_request` turns it into the request of the SageMaker API.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, PositiveInt, model_validator

from launcher import configuration
from launcher.configuration import Section
from launcher.errors import SettingsError

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "config/hpo.toml"
Strategy = Literal["Bayesian", "Random", "Hyperband", "Grid"]
STRATEGIES = get_args(Strategy)
Scale = Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]


class Range(Section):
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


class End(Section):
    """What ends a search before its last trial."""

    target: float | None = Field(default=None, allow_inf_nan=False)
    trials_without_improvement: int | None = Field(default=None, ge=3)
    converged: bool = False


class Hyperband(Section):
    """The epochs that Hyperband gives to the worst and to the best trials."""

    min_epochs: PositiveInt = 1
    max_epochs: PositiveInt = 5


class Search(Section):
    """The whole file."""

    strategy: Strategy = "Bayesian"
    objective: str = "validation:accuracy"
    goal: Literal["Maximize", "Minimize"] = "Maximize"
    max_trials: PositiveInt = 6
    max_parallel_trials: PositiveInt = 2
    early_stopping: Literal["Auto", "Off"] = "Auto"
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
    return configuration.read(Search, file, what="a search", **overrides)
