"""The ranges of a tuning request: as typed values, as Optuna's distributions, and back as the API's texts.

`tuning_request` checks them, `study` searches them. Every value of a hyperparameter is text in the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna import Trial
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from launcher.requests import Request

_WIDE = 100  # from here on, an interval whose scale is Auto is searched on a logarithmic one


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included."""

    name: str
    low: float
    high: float
    integer: bool
    scale: str

    @property
    def reverse(self) -> bool:
        """Whether the distance from 1 is what is searched, on a logarithmic scale."""
        return self.scale == "ReverseLogarithmic"

    @property
    def parameter(self) -> str:
        """The name under which the study knows it."""
        return f"1 - {self.name}" if self.reverse else self.name

    def distribution(self) -> IntDistribution | FloatDistribution:
        """As Optuna has it."""
        if self.reverse:
            return FloatDistribution(1 - self.high, 1 - self.low, log=True)
        log = self.scale == "Logarithmic" or (self.scale == "Auto" and self.high >= _WIDE * self.low > 0)
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=log)
        return FloatDistribution(self.low, self.high, log=log)

    def suggest(self, trial: Trial) -> float:
        """Let the study choose."""
        kind = self.distribution()
        if isinstance(kind, IntDistribution):
            return trial.suggest_int(self.parameter, kind.low, kind.high, log=kind.log)
        return trial.suggest_float(self.parameter, kind.low, kind.high, log=kind.log)

    def text(self, value: Any) -> str:
        """The study's value as a request has it, with six digits."""
        if self.integer:
            return str(int(value))
        rounded = float(f"{1 - value if self.reverse else value:.6g}")
        return repr(min(max(rounded, self.low), self.high))

    def value(self, text: str) -> float:
        """The study's value of a request's text."""
        return int(text) if self.integer else 1 - float(text) if self.reverse else float(text)

    def contains(self, text: str) -> bool:
        """Whether a request's text lies in the interval."""
        try:
            return self.low <= (int(text) if self.integer else float(text)) <= self.high
        except ValueError:
            return False


@dataclass(frozen=True)
class Choices:
    """A list of values, each the text that a request has."""

    name: str
    values: tuple[str, ...]

    @property
    def parameter(self) -> str:
        """The name under which the study knows it."""
        return self.name

    def distribution(self) -> CategoricalDistribution:
        """As Optuna has it."""
        return CategoricalDistribution(self.values)

    def suggest(self, trial: Trial) -> str:
        """Let the study choose."""
        return str(trial.suggest_categorical(self.parameter, self.values))

    def text(self, value: Any) -> str:
        """The study's value as a request has it."""
        return str(value)

    def value(self, text: str) -> str:
        """The study's value of a request's text."""
        return text

    def contains(self, text: str) -> bool:
        """Whether the list has a request's text."""
        return text in self.values


def entries(request: Request) -> list[Interval | Choices]:
    """Return all ranges of a tuning request; raises `ValueError` where an end is no number."""
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    numbers = {"ContinuousParameterRanges": float, "IntegerParameterRanges": int}
    intervals = [
        Interval(
            entry["Name"],
            _number(entry, "MinValue", kind),
            _number(entry, "MaxValue", kind),
            integer=kind is int,
            scale=entry.get("ScalingType", "Auto"),
        )
        for key, kind in numbers.items()
        for entry in ranges.get(key, [])
    ]
    lists = [
        Choices(entry["Name"], tuple(entry["Values"]))
        for entry in ranges.get("CategoricalParameterRanges", [])
    ]
    return [*intervals, *lists]


def _number(entry: Mapping[str, str], key: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(entry[key])
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{entry['Name']}: {key} is {entry[key]!r}, which is not {what}") from None
