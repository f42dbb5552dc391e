"""A search as pictures: one self-contained HTML page, and a PNG of each of its plots.

Called by `search_results`. Draws with matplotlib; how much each hyperparameter matters is Optuna's estimate.
"""

import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning

from launcher import search_space, trials, tuning_request
from launcher.requests import Request
from launcher.search_space import Choices, Interval
from launcher.trials import Trial

_GOOD, _BEST, _BAD, _QUIET = "#3b6ea5", "#1b7f4b", "#b3402a", "#9aa4b1"
_STYLE: dict[Any, Any] = {
    "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False, "font.size": 10,
    "grid.alpha": 0.3, "svg.fonttype": "path", "svg.hashsalt": "search",
    "text.parse_math": False,  # names are text, also those with a dollar sign
}  # fmt: skip
_ENOUGH = 4  # trials with an objective, below which an importance would be made up


@dataclass(frozen=True)
class Findings:
    """What the plots show."""

    trials: Sequence[Trial]
    space: Sequence[Interval | Choices]
    objective: str
    maximize: bool

    @property
    def judged(self) -> list[tuple[int, Trial, float]]:
        """Number, trial and objective of those that the search goes by."""
        return [
            (number, trial, trial.objective)
            for number, trial in enumerate(self.trials, start=1)
            if trial.is_judged and trial.objective is not None
        ]

    @property
    def best(self) -> Trial | None:
        """The best trial."""
        return trials.best(self.trials, maximize=self.maximize)


@dataclass(frozen=True)
class Plot:
    """A drawing: its file name without ending, its title, what it says, and what draws it."""

    name: str
    title: str
    about: str
    draw: Callable[[Figure, Findings], None]
    possible: Callable[[Findings], bool] = lambda findings: bool(findings.judged)


def write(page: Path, request: Request, found: Sequence[Trial]) -> None:
    """Write the page and, beside it, the PNGs; plots that there is nothing for are left out."""
    objective = tuning_request.objective(request)
    findings = Findings(found, search_space.entries(request), objective.metric, objective.maximize)
    drawings = []
    with mpl.rc_context(_STYLE):
        for plot in filter(lambda plot: plot.possible(findings), PLOTS):
            figure = Figure(figsize=(8, 4.2), layout="constrained")
            plot.draw(figure, findings)
            figure.savefig(page.with_name(f"{plot.name}.png"), dpi=150)
            drawings.append({"title": plot.title, "about": plot.about, "svg": _svg(figure)})
    page.write_text(
        _TEMPLATE.render(
            name=request["HyperParameterTuningJobName"],
            strategy=request["HyperParameterTuningJobConfig"]["Strategy"],
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            drawings=drawings,
            findings=findings,
            names=[each.name for each in findings.space],
            shown=trials.shown,
            static=request["TrainingJobDefinition"].get("StaticHyperParameters", {}),
        ),
        encoding="utf-8",
    )


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()[stream.getvalue().index("<svg") :]


# ── the plots ─────────────────────────────────────────────────────────────────────────────────────────


def _history(figure: Figure, findings: Findings) -> None:
    axes = figure.subplots()
    numbers = [number for number, _, _ in findings.judged]
    values = [value for _, _, value in findings.judged]
    better = max if findings.maximize else min
    so_far = [better(values[: end + 1]) for end in range(len(values))]
    axes.step(numbers, so_far, where="post", color=_BEST, label="best so far")
    axes.scatter(numbers, values, color=_GOOD, zorder=3, label="a trial")
    failed = [number for number, trial in enumerate(findings.trials, start=1) if trial.status == "Failed"]
    if failed:
        axes.scatter(failed, [min(values)] * len(failed), marker="x", color=_BAD, label="a failed trial")
    axes.set(xlabel="trial", ylabel=findings.objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)


def _curves(figure: Figure, findings: Findings) -> None:
    axes = figure.subplots()
    best = findings.best
    for number, trial in enumerate(findings.trials, start=1):
        if trial.curve:
            epochs = sorted(trial.curve)
            colour = _BEST if trial is best else _BAD if trial.status == "Stopped" else _QUIET
            axes.plot(
                epochs, [trial.curve[epoch] for epoch in epochs],
                marker="o", markersize=3, color=colour, zorder=3 if trial is best else 2,
            )  # fmt: skip
            axes.annotate(
                str(number), (epochs[-1], trial.curve[epochs[-1]]), xytext=(4, 0), textcoords="offset points",
                color=colour, va="center",
            )  # fmt: skip
    axes.set(xlabel="epoch", ylabel=findings.objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _parallel(figure: Figure, findings: Findings) -> None:
    """Every trial a line over all hyperparameters, coloured by its objective."""
    axes = figure.subplots()
    values = [value for _, _, value in findings.judged]
    scale = mpl.colors.Normalize(min(values), max(*values, min(values) + 1e-9))
    colours = mpl.colormaps["viridis" if findings.maximize else "viridis_r"]
    for _, trial, value in sorted(findings.judged, key=lambda each: each[2], reverse=not findings.maximize):
        heights = [_height(each, trial) for each in findings.space]
        axes.plot([*range(len(heights)), len(heights)], [*heights, scale(value)], color=colours(scale(value)))
    for place, each in enumerate(findings.space):
        _axis(axes, place, each.name, _ticks(each))
    ends = [(scale(value), f"{value:.4g}") for value in (min(values), max(values))]
    _axis(axes, len(findings.space), findings.objective, ends)
    axes.set(xlim=(-0.3, len(findings.space) + 0.45), ylim=(-0.05, 1.05), yticks=[], xticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)


def _axis(axes: Axes, place: int, name: str, ticks: Sequence[tuple[float, str]]) -> None:
    axes.axvline(place, color="#444", linewidth=0.8)
    axes.text(place, 1.09, name, ha="center", weight="bold")
    for height, label in ticks:
        axes.text(place + 0.03, height, label, va="center", fontsize=8, backgroundcolor="#ffffffa0")


def _height(each: Interval | Choices, trial: Trial) -> float:
    """Where a trial's value lies on its axis, 0 to 1."""
    text = trial.values[each.name]
    if isinstance(each, Choices):
        return each.values.index(text) / max(1, len(each.values) - 1)
    value, low, high = float(text), each.low, each.high
    if each.distribution().log and not each.reverse:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _ticks(each: Interval | Choices) -> list[tuple[float, str]]:
    if isinstance(each, Choices):
        last = max(1, len(each.values) - 1)
        return [(place / last, trials.shown(text)) for place, text in enumerate(each.values)]
    if each.integer and each.high - each.low <= 10:
        whole = range(int(each.low), int(each.high) + 1)
        return [((value - each.low) / (each.high - each.low), str(value)) for value in whole]
    if each.distribution().log and not each.reverse:
        powers = range(math.ceil(math.log10(each.low) - 1e-9), math.floor(math.log10(each.high) + 1e-9) + 1)
        span = math.log10(each.high / each.low)
        values = {each.low, each.high, *(10.0**power for power in powers)}
        return [((math.log10(value / each.low)) / span, f"{value:g}") for value in sorted(values)]
    middle = (each.low + each.high) / 2
    return [(0, f"{each.low:g}"), (0.5, f"{middle:g}"), (1, f"{each.high:g}")]


def _importance(figure: Figure, findings: Findings) -> None:
    axes = figure.subplots()
    shares = _importances(findings)
    names = list(reversed(shares))
    axes.barh(names, [shares[name] for name in names], color=_GOOD)
    for place, name in enumerate(names):
        axes.text(shares[name], place, f" {shares[name]:.0%}", va="center")
    axes.set(xlabel="share of what the hyperparameters explain", xlim=(0, 1.1))


def _importances(findings: Findings) -> dict[str, float]:
    """Each hyperparameter's share, the largest first; empty where too few trials would make it up."""
    if len(findings.judged) < _ENOUGH or len({value for _, _, value in findings.judged}) == 1:
        return {}
    # It imports scikit-learn where that is installed, which takes longer than all the rest.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # noqa: PLC0415

    study = optuna.create_study(direction="maximize" if findings.maximize else "minimize")
    distributions: dict[str, BaseDistribution] = {each.name: each.distribution() for each in findings.space}
    for _, trial, value in findings.judged:
        params = {each.name: each.value(trial.values[each.name]) for each in findings.space}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


PLOTS = (
    Plot("history", "Objective over time", "Each trial's objective, and the best up to then.", _history),
    Plot(
        "parallel",
        "Parallel coordinates",
        "Each trial is a line through its hyperparameters to its objective; bright lines are the good ones.",
        _parallel,
    ),
    Plot(
        "importance",
        "What mattered",
        "How much of the difference between good trials and the rest each hyperparameter explains, by "
        "PED-ANOVA: with few trials a hint, no more.",
        _importance,
        possible=lambda findings: bool(_importances(findings)),
    ),
    Plot(
        "curves",
        "Learning curves",
        "The objective after each epoch, by the trial's number: the best trial green, stopped ones red.",
        _curves,
    ),
)

_TEMPLATE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    (Path(__file__).parent / "tuning_report.html").read_text(encoding="utf-8")
)
