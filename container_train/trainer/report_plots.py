"""The report's plots, each from what a job left onto a figure. Called by `trainer.report_sections`."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, PercentFormatter

if TYPE_CHECKING:
    from trainer.report_tensors import Curves, Norms

History = Mapping[str, Sequence[Mapping[str, Any]]]  # member → its epochs' metrics

_TRAIN, _VALIDATION, _BAD, _QUIET = "#3b6ea5", "#d0812f", "#b3402a", "#6d7886"
_LAYERS = ("#3b6ea5", "#d0812f", "#1b7f4b", "#8a5a9e", "#2a9d9d", "#7a6a4f", "#b5557c", "#9aa4b1")
_PHASES = {
    "data wait": "#d0812f", "copy": "#e8c48f", "forward": "#8fb3d6", "backward": "#3b6ea5",
    "optimiser": "#1f4266", "validation": "#1b7f4b", "checkpoint": "#8a5a9e", "debugger": "#b5557c",
    "other": "#c3cad2",
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True, "axes.edgecolor": "#6d7886", "axes.grid": True, "axes.labelcolor": "#1d2630",
    "axes.spines.right": False, "axes.spines.top": False, "font.size": 10.5, "grid.alpha": 0.3,
    "legend.fontsize": 9.5, "legend.frameon": False, "lines.linewidth": 1.6,
    "text.parse_math": False,  # names are text, also those with a dollar sign
}  # fmt: skip
_MARKS = ("-", "--", ":", "-.")  # of several members
LINES = 8  # layers that lines can tell apart; more are a heat map
_SAMPLES = 300  # of the machine's use, averaged: a dot of the picture each


def png(draw: Callable[[Figure], None], *, width: float = 6.0, height: float = 3.9) -> bytes:
    """What `draw` draws on a figure of so many inches."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150)
    return stream.getvalue()


# ── the training ──────────────────────────────────────────────────────────────────────────────────────


def epochs(figure: Figure, history: History, metric: str) -> None:
    """`loss` or `accuracy` over the epochs, of training and validation."""
    axes, lost = figure.subplots(), []
    for (member, entries), mark in zip(history.items(), cycle(_MARKS), strict=False):
        for split, colour in (("train", _TRAIN), ("validation", _VALIDATION)):
            found = [(entry["epoch"], number(entry.get(f"{split}:{metric}"))) for entry in entries]
            label = split if len(history) == 1 else f"{shorten(member, 24)}, {split}"
            axes.plot(*_columns(found), color=colour, linestyle=mark, marker="o", markersize=3.5, label=label)
            lost += [pair for pair in found if not math.isfinite(pair[1])]
    _mark_lost(axes, lost, "epoch")
    axes.set(xlabel="epoch", ylabel="cross-entropy loss" if metric == "loss" else "accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    _legend(figure)


def saved_losses(figure: Figure, members: Sequence["Curves"]) -> None:
    """The loss of each batch that was saved, and of each evaluation, over optimiser steps."""
    axes = figure.subplots()
    for curves, mark in zip(members, cycle(_MARKS), strict=False):
        name = f"{shorten(curves.member, 24)}, " if len(members) > 1 else ""
        axes.plot(*_columns(sorted(curves.training.items())), color=_TRAIN, linestyle=mark, linewidth=1.2,
                  marker="o", markersize=2.5, label=f"{name}train, one batch")  # fmt: skip
        if curves.validation:
            axes.plot(*_columns(sorted(curves.validation.items())), color=_VALIDATION, linestyle=mark,
                      marker="o", markersize=4, label=f"{name}validation")  # fmt: skip
    axes.set(xlabel="optimiser step", ylabel="cross-entropy loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure)


def norms(
    figure: Figure, *, layers: "Norms", label: str, marks: Mapping[str, float], logarithmic: bool
) -> None:
    """A norm of each layer over the steps; `marks` are values worth a line where they are in sight.

    The scale is logarithmic also where it need not be and the norms are of different sizes.
    """
    axes = figure.subplots()
    spread = _spread(layers)
    logarithmic = spread > 20 or (logarithmic and spread > 0)
    if len(layers) > LINES:
        _heat_map(figure, layers, label, logarithmic=logarithmic)
        return
    for (layer, values), colour in zip(layers.items(), _LAYERS, strict=False):
        steps, heights = _columns(sorted(values.items()))
        shown = np.where(heights > 0, heights, np.nan) if logarithmic else heights
        axes.plot(steps, shown, color=colour, marker="o", markersize=2.5, label=shorten(layer, 34))
    _mark_lost(axes, [pair for values in layers.values() for pair in values.items()], "step")
    axes.set(xlabel="optimiser step", ylabel=label)
    if logarithmic:
        _scale_logarithmically(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    low, high = axes.get_ylim()
    for name, value in marks.items():
        if low <= value <= high:
            axes.axhline(value, color=_BAD, linewidth=1, linestyle="--", label=name)
    _legend(figure)


def norms_height(layers: "Norms") -> float:
    """Inches that `norms` needs."""
    return 3.9 if len(layers) <= LINES else min(8.0, 1.6 + 0.2 * len(layers))


def _spread(layers: "Norms") -> float:
    """The largest value over the smallest that is not 0; 0 where there is none."""
    good = [norm for values in layers.values() for norm in values.values() if 0 < norm < math.inf]
    return max(good) / min(good) if good else 0.0


def _scale_logarithmically(axes: Axes) -> None:
    """A logarithmic y axis of at least a decade: less would make much of noise."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    room = math.sqrt(max(1.0, 10 / (high / low)))
    axes.set_ylim(low / room, high * room)
    _label_powers(axes.yaxis)


def _label_powers(axis: Axis) -> None:
    axis.set_major_formatter(_Power())
    axis.set_minor_formatter(_Power(minor_thresholds=(1.2, 0.4)))


class _Power(LogFormatter):
    """Labels of a logarithmic axis in plain text: 1e-6."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:.3g}".replace("e-0", "e-").replace("e+0", "e") if super().__call__(x, pos) else ""


def _mark_lost(axes: Axes, points: Sequence[tuple[float, float]], unit: str) -> None:
    """A line where the first value is NaN or infinite: nothing is drawn there."""
    if lost := [place for place, value in points if not math.isfinite(value)]:
        label = f"NaN or infinite from {unit} {min(lost)}"
        axes.axvline(min(lost), color=_BAD, linewidth=1.2, linestyle=":", label=label)


def _heat_map(figure: Figure, layers: "Norms", label: str, *, logarithmic: bool) -> None:
    """Layer × save, the network's first layer on top; red is NaN or infinite, white nothing."""
    axes = figure.axes[0]
    steps = sorted({step for values in layers.values() for step in values})
    table = np.array([[values.get(step, 0.0) for step in steps] for values in layers.values()])
    good = table[np.isfinite(table) & (table > 0)]
    low, high = (float(good.min()), float(good.max())) if good.size else (1.0, 1.0)
    high = max(high, low * 1.0001)  # equal values need a scale as well
    scale = LogNorm(low, high) if logarithmic else Normalize(low, high)
    colours = mpl.colormaps["viridis"].with_extremes(bad=_BAD, under="white")
    shown = np.ma.masked_invalid(np.where(table == 0, low / 2, table))
    image = axes.imshow(shown, norm=scale, cmap=colours, aspect="auto", interpolation="nearest")
    rows = range(0, len(layers), math.ceil(len(layers) / 30))
    axes.set_yticks(rows, [shorten(list(layers)[row], 34) for row in rows], fontsize=9)
    ticks = np.unique(np.linspace(0, len(steps) - 1, min(9, len(steps))).round().astype(int))
    axes.set_xticks(ticks, [str(steps[tick]) for tick in ticks])
    axes.set(xlabel="optimiser step")
    axes.grid(visible=False)
    # Above, at the left: a phone shows the left of a wide picture.
    bar = figure.colorbar(image, ax=axes, location="top", shrink=0.45, anchor=(0, 0), aspect=35, pad=0.01)
    bar.set_label(label, loc="left")
    if logarithmic:
        _label_powers(bar.ax.xaxis)


# ── the time ──────────────────────────────────────────────────────────────────────────────────────────


def phases_by_epoch(figure: Figure, entries: Sequence[Mapping[str, Any]]) -> None:
    """A stacked bar for each epoch; each member has a row."""
    members = list(dict.fromkeys(str(entry.get("member", "")) for entry in entries))
    rows = figure.subplots(len(members), 1, squeeze=False, sharey=True)[:, 0]
    longest = max(sum(_phases(entry["phases"]).values()) for entry in entries)
    unit, name = _unit(longest)
    for axes, member in zip(rows, members, strict=True):
        own = [entry for entry in entries if str(entry.get("member", "")) == member]
        places, below = [entry["epoch"] for entry in own], np.zeros(len(own))
        for phase, colour in _PHASES.items():
            heights = np.array([_phases(entry["phases"]).get(phase, 0.0) for entry in own]) / unit
            if heights.any():
                axes.bar(places, heights, bottom=below, color=colour, label=phase, width=0.75)
                below += heights
        axes.set(ylabel=f"time ({name})", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(visible=False, axis="x")
        if len(members) > 1:
            axes.set_title(shorten(member, 50), fontsize=10.5, loc="left")
    _legend(figure, columns=4)


def phases_share(figure: Figure, phases: Mapping[str, Any]) -> None:
    """Each phase's share of the whole run."""
    axes = figure.subplots()
    values = _phases(phases)
    whole = sum(values.values()) or 1.0
    names = [phase for phase in reversed(_PHASES) if phase in values]
    axes.barh(names, [values[name] / whole for name in names], color=[_PHASES[name] for name in names])
    for place, name in enumerate(names):
        axes.text(
            values[name] / whole, place, f" {100 * values[name] / whole:.1f} %", va="center", fontsize=9.5
        )
    axes.set(
        xlabel="share of the time of all epochs",
        xlim=(0, 1.18 * max(values.values(), default=1.0) / whole or 1),
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.grid(visible=False, axis="y")


def _phases(phases: Mapping[str, Any]) -> dict[str, float]:
    """The known phases in their order, the rest under `other`."""
    result = {phase: number(phases[phase]) for phase in _PHASES if phase in phases}
    if strange := [number(value) for phase, value in phases.items() if phase not in _PHASES]:
        result["other"] = result.get("other", 0.0) + sum(strange)
    return {phase: seconds if math.isfinite(seconds) else 0.0 for phase, seconds in result.items()}


def utilisation(figure: Figure, samples: Mapping[str, Any]) -> None:
    """Processor and GPU, memory, and disk over the run, one above the other."""
    panels = [
        ("busy (%)", {"cpu": ("CPU", _TRAIN), "gpu": ("GPU", _VALIDATION)}),
        ("memory (GB)", {"memory_gb": ("main memory", _TRAIN), "gpu_memory_gb": ("GPU memory", _VALIDATION)}),
        ("disk (MB/s)", {"disk_read_mb": ("read", _TRAIN), "disk_write_mb": ("written", _VALIDATION)}),
    ]
    shown = [(label, lines) for label, lines in panels if any(samples.get(name) for name in lines)]
    unit, name = _unit(max(samples["seconds"], default=0.0))
    rows = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (label, lines) in zip(rows, shown, strict=True):
        for key, (legend, colour) in lines.items():
            if samples.get(key):
                seconds, values = _averaged(samples["seconds"], samples[key])
                axes.plot(seconds / unit, values, color=colour, linewidth=1.3, label=legend)
        axes.set(ylabel=label)
        axes.set_ylim(0, 103 if "%" in label else None)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0, borderaxespad=0.2)
    rows[-1].set(xlabel=f"time ({name})")


def _averaged(
    seconds: Sequence[float], values: Sequence[float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """At most so many points as the picture can show, each the mean of its neighbours."""
    length = min(len(seconds), len(values))
    pairs = np.array([[number(each) for each in column[:length]] for column in (seconds, values)])
    parts = np.array_split(pairs, min(_SAMPLES, max(1, length)), axis=1)
    means = np.stack([part.mean(axis=1) for part in parts if part.size], axis=1)
    return means[0], means[1]


def operators(figure: Figure, found: Sequence[Mapping[str, Any]]) -> None:
    """The operators that took longest, on the processor and on the GPU."""
    axes = figure.subplots()
    places = np.arange(len(found))[::-1]
    on_gpu = any(number(each.get("gpu_ms")) > 0 for each in found)
    kinds = [("cpu_ms", "CPU", _TRAIN), ("gpu_ms", "GPU", _VALIDATION)][: 2 if on_gpu else 1]
    for place, (key, label, colour) in enumerate(kinds):
        height = 0.8 / len(kinds)
        heights = places + 0.4 - height * (place + 0.5)
        axes.barh(
            heights, [number(each.get(key)) for each in found], height=height, color=colour, label=label
        )
    axes.set_yticks(places, [shorten(str(each["name"]), 36) for each in found], fontsize=8.5)
    axes.set(xlabel="time in the traced steps (ms)")
    axes.grid(visible=False, axis="y")
    _legend(figure)


# ── what they share ───────────────────────────────────────────────────────────────────────────────────


def number(value: object) -> float:
    """A value of a JSON file, where what is no finite number may be its name or null."""
    if isinstance(value, int | float | str):
        return float(value)
    return math.nan


def shorten(text: str, length: int) -> str:
    """At most so many characters, left out of the middle: a layer's kind and place stand at the ends."""
    if len(text) <= length:
        return text
    tail = length // 2
    return f"{text[: length - tail - 1]}…{text[-tail:]}"


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """x and y of some points, with a gap where y is not finite."""
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], np.where(np.isfinite(table[:, 1]), table[:, 1], np.nan)


def _unit(seconds: float) -> tuple[float, str]:
    """A unit of time that suits, in seconds, and its name."""
    return (1.0, "s") if seconds < 180 else (60.0, "min") if seconds < 7200 else (3600.0, "h")


def _legend(figure: Figure, columns: int = 2) -> None:
    """One above the axes for all of them, where it hides no line."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        found |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        found.values(), found.keys(), loc="outside upper left", ncols=columns, handlelength=2.2,
        columnspacing=1.2, borderpad=0.2,
    )  # fmt: skip
