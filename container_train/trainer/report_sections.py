"""What the report says, section by section: each from files that a job left, or why there is nothing to say.

Called by `trainer.report`, also after a crash: a file may be missing, cut off or not what it should be, and
the section says so in a sentence. All text is plain here; the page's template escapes it.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainer import report_plots as plots
from trainer.failures import TrainerError
from trainer.findings import FILE as FINDINGS
from trainer.findings import Finding, read_findings
from trainer.labels import label_of
from trainer.report_files import (
    DAMAGED,
    Missing,
    best_epoch,
    open_text,
    read_card,
    read_history,
    read_object,
    read_profile,
    reason,
)
from trainer.report_words import duration, percent, scrubbed, shown, slug

if TYPE_CHECKING:
    from trainer.report_tensors import Curves, Norms

_LISTED = 50  # quarantined files
_HARDEST = 10
_OPERATORS = 15


@dataclass(frozen=True)
class Picture:
    """A plot: its file name without ending, what it shows, and its PNG."""

    name: str
    title: str
    about: str
    png: bytes
    wide: bool = False
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True)
class Table:
    """Rows of text; the first `texts` columns are words, the others numbers; `whole`: of the page's width."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    texts: int = 1
    whole: bool = False
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Note:
    """A sentence; `alarming` where something is missing that should be there."""

    text: str
    link: str = ""
    alarming: bool = False
    kind: Literal["note"] = "note"


Part = Picture | Table | Note | Finding
Build = Callable[[], Iterable[Part]]


@dataclass
class Section:
    """A title, and its parts."""

    title: str
    parts: list[Part] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """Those among the parts: the page lists them first."""
        return [part for part in self.parts if isinstance(part, Finding)]


def read_sections(folder: Path, tensors: Path | None) -> Iterator[Section]:
    """All sections but the head, in the order of the page."""
    yield _section("What the rules found", partial(_findings, folder))
    yield _section(
        "Loss and accuracy",
        partial(_history_plot, folder, "loss"),
        partial(_history_plot, folder, "accuracy"),
        partial(_members, folder),
    )
    yield _tensors(folder, tensors)
    yield _section(
        "Where the time went",
        partial(_phases_by_epoch, folder),
        partial(_phases_share, folder),
        partial(_steps, folder),
    )
    yield _section("What the machine did", partial(_utilisation, folder))
    if parts := _section("Operators", partial(_operators, folder)).parts:
        yield Section("Operators", parts)
    yield _section("Files left out", partial(_quarantine, folder))
    yield _section("Where it goes wrong", partial(_confusions, folder), partial(_hardest, folder))
    yield _section("Environment", partial(_environment, folder))


def _section(title: str, *builders: Build) -> Section:
    """Whatever the builders give; where one fails, why."""
    section = Section(title)
    for build in builders:
        try:
            section.parts.extend(build())
        except Missing as missing:
            note = Note(str(missing), alarming=True)
            if note not in section.parts:  # two plots of one file
                section.parts.append(note)
        except DAMAGED as error:
            section.parts.append(Note(f"A part cannot be shown: {reason(error)}.", alarming=True))
    return section


# ── findings ──────────────────────────────────────────────────────────────────────────────────────────


def _findings(folder: Path) -> Iterator[Part]:
    if not (folder / FINDINGS).is_file():
        raise Missing(f"The rules did not run: {FINDINGS} is missing.")
    try:
        found = read_findings(folder)
    except DAMAGED as error:
        raise Missing(f"{FINDINGS} is damaged ({reason(error)}): what the rules found is lost.") from None
    if not found:
        yield Note("No rule found anything.")
    for each in found:
        yield replace(each, says=scrubbed(each.says), advice=scrubbed(each.advice))


# ── the training ──────────────────────────────────────────────────────────────────────────────────────


def _history_plot(folder: Path, metric: Literal["loss", "accuracy"]) -> Iterator[Part]:
    about = {
        "loss": "Mean cross-entropy of each epoch; training's while the weights were changing.",
        "accuracy": "Share of pictures whose most likely class is the right one.",
    }
    draw = partial(plots.epochs, history=read_history(folder), metric=metric)
    yield Picture(metric, f"{metric.capitalize()} over epochs", about[metric], plots.png(draw))


def _members(folder: Path) -> Iterator[Part]:
    history = read_history(folder)
    if len(history) > 1:
        best = {member: best_epoch(entries) for member, entries in history.items()}
        rows = [
            [member, str(entry["epoch"]), percent(entry.get("validation:accuracy")),
             shown(entry.get("validation:loss"))]
            for member, entry in best.items()
        ]  # fmt: skip
        yield Table(["member", "best epoch", "validation accuracy", "validation loss"], rows)


# ── tensors ───────────────────────────────────────────────────────────────────────────────────────────


def _tensors(folder: Path, tensors: Path | None) -> Section:
    """Losses, gradients and weights of all members."""
    read: list[Curves] = []
    section = _section("Inside the network", partial(_read_trials, folder, tensors, read))
    builders: list[Build] = [partial(_saved_losses, read)]
    for curves in read:
        of = curves.member if len(read) > 1 else ""
        builders += [
            partial(_norms, _GRADIENTS, of, curves.gradients),
            partial(_norms, _WEIGHTS, of, curves.growth),
            partial(_norms, _UPDATES, of, curves.update_ratios),
        ]
    section.parts += _section("", *builders).parts
    return section


def _read_trials(folder: Path, tensors: Path | None, read: "list[Curves]") -> Iterator[Part]:
    """Fill `read`; the parts are what could not be read."""
    if tensors is None:
        yield Note("No tensors were saved: the debugger was switched off.")
        return
    try:  # smdebug takes a second, and is not there where the debugger is never used
        from trainer.report_tensors import read_curves  # noqa: PLC0415
        from trainer.trial_steps import trials_below  # noqa: PLC0415
    except (ImportError, TrainerError) as error:
        raise Missing(f"The saved tensors cannot be read: {scrubbed(error)}.") from None
    trials = trials_below(tensors)
    if not trials:
        raise Missing("No saved tensors were found: the job ended before the debugger's first save.")
    for trial in trials:
        curves = read_curves(trial, _only_member(folder) if trial == tensors else trial.name)
        read.append(curves)
        if curves.damaged:
            files = ", ".join(curves.damaged[:3]) + (" and others" if len(curves.damaged) > 3 else "")
            missing = f"{len(curves.damaged)} file(s) of the saved tensors cannot be read: {files}. "
            yield Note(f"{missing}Their steps are missing below.", alarming=True)


def _only_member(folder: Path) -> str:
    try:
        return next(iter(read_history(folder)))
    except (Missing, *DAMAGED):
        return ""


def _saved_losses(read: "Sequence[Curves]") -> Iterator[Part]:
    if any(curves.training or curves.validation for curves in read):
        draw = partial(plots.saved_losses, members=read)
        about = "The loss of the batch at each save, and of the validation split after each epoch."
        yield Picture("saved_losses", "Loss at each save", about, plots.png(draw))


@dataclass(frozen=True)
class _LayerPlot:
    """A plot of one norm of each layer: its file's name, what it says, its axis, and values worth a line."""

    name: str
    title: str
    about: str
    label: str
    marks: Mapping[str, float]
    logarithmic: bool = True


_GRADIENTS = _LayerPlot(
    "gradients",
    "Gradient norms by layer",
    "L2 norm of each layer's gradient before clipping; healthy ones lie well between 1e-6 and 100.",
    "gradient norm (L2)",
    {"vanishing below 1e-6": 1e-6, "exploding above 100": 100.0},
)
_WEIGHTS = _LayerPlot(
    "weights",
    "Weight change by layer",
    "L2 norm of each layer's weights, as a multiple of the first that is not 0.",
    "weight norm / first",
    {},
    logarithmic=False,
)
_UPDATES = _LayerPlot(
    "updates",
    "Update ratio by layer",
    "How much one step changes a layer, relative to its weights: 1e-3 is usual.",
    "|Δw| / |w|",
    {"usual: 1e-3": 1e-3},
)


def _norms(plot: _LayerPlot, member: str, layers: "Norms") -> Iterator[Part]:
    """The plot, of a member that is named where there are several."""
    if layers:
        draw = partial(
            plots.norms, layers=layers, label=plot.label, marks=plot.marks, logarithmic=plot.logarithmic
        )
        name = f"{plot.name}-{slug(member)}" if member else plot.name
        title = f"{plot.title}, {member}" if member else plot.title
        wide, about = len(layers) > plots.LINES, plot.about
        if wide:
            about += " The first layer is on top; red is NaN or infinite, white zero or not saved."
        size = {"width": 12.0 if wide else 6.0, "height": plots.norms_height(layers)}
        yield Picture(name, title, about, plots.png(draw, **size), wide)


# ── the time ──────────────────────────────────────────────────────────────────────────────────────────


def _phases_by_epoch(folder: Path) -> Iterator[Part]:
    entries = read_profile(folder)["epochs"]
    if not entries:
        yield Note("No epoch was measured.")
        return
    members = len({entry.get("member") for entry in entries})
    draw = partial(plots.phases_by_epoch, entries=entries)
    png = plots.png(draw, height=3.9 if members == 1 else 1.2 + 2.3 * members)
    yield Picture("phases", "Phases of each epoch", "How long each epoch spent on what.", png)


def _phases_share(folder: Path) -> Iterator[Part]:
    png = plots.png(partial(plots.phases_share, phases=read_profile(folder)["phases"]))
    yield Picture(
        "phases_share", "Phases of the whole run", "What the time went into, all epochs together.", png
    )


def _steps(folder: Path) -> Iterator[Part]:
    steps = read_profile(folder)["steps"]
    median = plots.number(steps["median"])
    rows = [
        ["median", duration(median), ""],
        ["95th percentile", duration(steps["p95"]), _times(steps["p95"], median)],
    ]
    rows += [
        [f"step {each['step']}", duration(each["seconds"]), _times(each["seconds"], median)]
        for each in steps["slowest"]
    ]
    yield Table(
        ["", "time", "of the median"], rows, f"Step time: {steps['count']:,} steps, and the slowest of them"
    )


def _times(seconds: object, median: float) -> str:
    return f"{plots.number(seconds) / median:.1f} ×" if median else ""


def _utilisation(folder: Path) -> Iterator[Part]:
    samples = read_profile(folder)["samples"]
    if not samples.get("seconds") or not any(values for name, values in samples.items() if name != "seconds"):
        yield Note("The machine was not sampled: the job was too short.")
        return
    about = "The processors' and the GPU's use, the job's memory, and its disk traffic."
    png = plots.png(partial(plots.utilisation, samples=samples), width=12, height=6)
    yield Picture("utilisation", "Use over time", about, png, wide=True)


def _operators(folder: Path) -> Iterator[Part]:
    """Only of a job that was traced."""
    try:
        profile = read_profile(folder)
    except Missing:
        return
    if found := (profile.get("operators") or [])[:_OPERATORS]:
        draw = partial(plots.operators, found=found)
        png = plots.png(draw, width=12, height=1.4 + 0.3 * len(found))
        about = "Those that took longest in the traced steps."
        yield Picture("operators", "Operators by time", about, png, wide=True)
    if trace := profile.get("trace"):
        text = f"Every operator of the traced steps is in {Path(str(trace)).name}: open the file in "
        yield Note(text, link="https://ui.perfetto.dev")


# ── the data ──────────────────────────────────────────────────────────────────────────────────────────


def _quarantine(folder: Path) -> Iterator[Part]:
    with open_text(folder, "quarantine.csv", "the job ended before the pictures were checked") as stream:
        rows = [row for row in list(csv.reader(stream))[1:] if row]
    if not rows:
        yield Note("Every picture could be read.")
        return
    yield Note(f"{len(rows):,} file(s) cannot be read, and were trained and tested without.")
    shown_rows = [
        [plots.shorten(row[0], 120), scrubbed(row[1] if len(row) > 1 else "")] for row in rows[:_LISTED]
    ]
    yield Table(["file", "reason"], shown_rows, texts=2, whole=True)
    if len(rows) > _LISTED:
        yield Note(f"… and {len(rows) - _LISTED:,} more, in quarantine.csv.")


def _confusions(folder: Path) -> Iterator[Part]:
    found = read_card(folder)["confusions"]
    if not found:
        yield Note("Every test picture was named right.")
        return
    rows = [
        [label_of(each["truth"]), label_of(each["answer"]), str(each["count"]), percent(each["share"], 0)]
        for each in found
    ]
    yield Table(["class", "called", "pictures", "of its class"], rows, "Most frequent confusions", texts=2)


def _hardest(folder: Path) -> Iterator[Part]:
    scored = [
        (each["accuracy"], label_of(name), each["pictures"])
        for name, each in read_card(folder)["per_class"].items()
        if each["accuracy"] is not None
    ]
    rows = [
        [name, percent(accuracy, 0), f"{pictures:,}"]
        for accuracy, name, pictures in sorted(scored)[:_HARDEST]
    ]
    yield Table(["class", "accuracy", "test pictures"], rows, "Hardest classes")


def _environment(folder: Path) -> Iterator[Part]:
    run = read_object(folder, "run.json", "machine, versions and hyperparameters are not known")
    for title, key in (
        ("Machine", "machine"),
        ("Hyperparameters", "hyperparameters"),
        ("Versions", "versions"),
    ):
        if entries := run.get(key):
            rows = [[str(name).replace("_gb", " (GB)"), _setting(value)] for name, value in entries.items()]
            yield Table([], rows, title, texts=2)
    yield Note(f"Git revision: {run.get('git_revision') or 'unknown'}.")


def _setting(value: object) -> str:
    if isinstance(value, float):
        return shown(value)
    return scrubbed(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
