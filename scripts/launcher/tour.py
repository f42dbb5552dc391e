"""What the guided tour, train_and_deploy.ipynb, shows: progress in one line, charts, photographs.

Called by the notebook alone. What it does is done by the functions that the scripts call.
"""

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from IPython.display import display, update_display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from launcher.predictions import Prediction

SECONDS = 0.5  # between two looks at a log
COLUMNS = 3
PAGE = 1080  # pixels, about what a notebook is wide
_TRUE, _OTHER, _QUIET = "#1b7f4b", "#3b6ea5", "#9aa4b1"
_SPLITS = {"train": "#3b6ea5", "valid": "#d0812f", "test": "#1b7f4b"}
_STYLE: dict[Any, Any] = {
    "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False, "font.size": 9.5,
    "grid.alpha": 0.3, "legend.frameon": False, "text.parse_math": False,
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A picture as a notebook shows it; `says` stands for it where pictures are left out."""

    png: bytes
    says: str

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return self.says


@contextmanager
def following(what: str) -> Iterator[Callable[[str], None]]:
    """Show the last line of a log, and in the end how long it took.

    What is said later, such as by an endpoint that goes on, is not shown.
    """
    began, shown, over = time.monotonic(), 0.0, False
    handle = f"{what}-{time.time_ns()}"

    def say(line: str) -> None:
        nonlocal shown
        if not over and (now := time.monotonic()) - shown > SECONDS:
            shown = now
            update_display(_text(f"{what}, {now - began:.0f} s: {line[:110]}"), raw=True, display_id=handle)

    display(_text(f"{what} …"), raw=True, display_id=handle)
    yield say
    over = True
    update_display(_text(f"{what}: {time.monotonic() - began:.0f} s"), raw=True, display_id=handle)


def _text(text: str) -> dict[str, str]:
    return {"text/plain": text}


# ── the pictures ──────────────────────────────────────────────────────────────────────────────────────


def class_sizes(reports: Path) -> Shown:
    """How many pictures each class has, the largest class first, of what `data_check` has written."""
    with (reports / "classes.csv").open(newline="", encoding="utf-8") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: -int(row["train"]))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places, below = range(1, len(rows) + 1), np.zeros(len(rows))
        for split, colour in _SPLITS.items():
            heights = np.array([int(row[split]) for row in rows])
            axes.bar(places, heights, 1.0, below, color=colour, label=split)
            below += heights
        axes.set(xlabel="class, the largest first", ylabel="pictures", xlim=(0.5, len(rows) + 0.5))
        figure.legend(loc="outside upper left", ncols=len(_SPLITS))

    return Shown(_png(draw, 9, 3), f"a chart: the pictures of {len(rows)} classes")


def photographs(files: Mapping[Path, str]) -> Shown:
    """Pictures, each with its class's folder: before a training there are no labels."""

    def draw(figure: Figure) -> None:
        for axes, (file, name) in zip(_grid(figure, len(files), COLUMNS), files.items(), strict=False):
            axes.imshow(_upright(file))
            axes.set_title(name)

    return Shown(_png(draw, 9, 2.6 * _rows(len(files)), dpi=80), _left_out(files.values(), "photographs"))


def _left_out(names: Iterable[str], what: str) -> str:
    return f"[{what} of {', '.join(names)}: not kept in the repository; run this cell to see them]"


# ── the job ───────────────────────────────────────────────────────────────────────────────────────────


def plots(folder: Path, *names: str) -> Shown:
    """Plots that a report has left as PNGs, those of the names that are there, in as few rows as they fit."""
    files = [file for name in names if (file := folder / f"{name}.png").is_file()]
    stream = io.BytesIO()
    _in_rows([_smaller(file) for file in files]).quantize(128).save(stream, "PNG", optimize=True)
    return Shown(stream.getvalue(), f"charts: {', '.join(file.stem for file in files) or 'none'}")


def _smaller(file: Path) -> Image.Image:
    """A report's plot for a notebook, which is read at half its resolution."""
    with Image.open(file) as picture:
        return picture.convert("RGB").resize((picture.width * 3 // 5, picture.height * 3 // 5))


def _in_rows(pictures: Sequence[Image.Image]) -> Image.Image:
    """Lay pictures out like words on a page."""
    page = Image.new("RGB", (PAGE, sum(picture.height for picture in pictures)), "white")
    left = top = right = bottom = 0
    for picture in pictures:
        if left and left + picture.width > PAGE:
            left, top = 0, bottom
        page.paste(picture, (left, top))
        left += picture.width
        right, bottom = max(right, left), max(bottom, top + picture.height)
    return page.crop((0, 0, max(right, 1), max(bottom, 1)))


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────


def answers(
    found: Sequence[Prediction], truths: Mapping[Path, str], labels: Mapping[str, str], *, pictures: bool
) -> Shown:
    """The five most probable classes of each picture, beside where the network looked.

    `labels` are the model's, by class. With `pictures` the map lies over the photograph, else it stands for
    itself.
    """
    classes = [truths[Path(each.file)] for each in found]

    def draw(figure: Figure) -> None:
        axes = _grid(figure, 2 * len(found), 4)
        for place, (prediction, truth) in enumerate(zip(found, classes, strict=True)):
            _map(axes[2 * place], prediction, picture=pictures)
            axes[2 * place].set_title(labels[truth], fontsize=9)
            _bars(axes[2 * place + 1], prediction, truth)

    names = [labels[name] for name in classes]
    says = _left_out(names, "photographs with heat maps") if pictures else f"charts: {', '.join(names)}"
    return Shown(_png(draw, 11, 2.1 * -(-len(found) // 2), dpi=80), says)


def _map(axes: Axes, prediction: Prediction, *, picture: bool) -> None:
    if picture:
        axes.imshow(_upright(Path(prediction.file)))
    if (explained := prediction.explanation) is None:
        return
    left, top, right, bottom = explained.box
    heat = np.array(explained.map).clip(0)
    heat /= max(float(heat.max()), 1e-9)
    options: dict[str, Any] = {"alpha": 0.65 * np.sqrt(heat), "interpolation": "bicubic"} if picture else {}
    limits = (axes.get_xlim(), axes.get_ylim()) if picture else None
    axes.imshow(heat, cmap="inferno", extent=(left, right, bottom, top), **options)
    if limits:
        axes.set(xlim=limits[0], ylim=limits[1])


def _bars(axes: Axes, prediction: Prediction, truth: str) -> None:
    top = prediction.top[::-1]
    axes.set_axis_on()
    colours = [_TRUE if each.name == truth else _OTHER for each in top]
    axes.barh(range(len(top)), [each.probability for each in top], color=colours, alpha=0.6)
    for place, each in enumerate(top):
        axes.text(0.02, place, f"{each.label[:26]}  {each.probability:.0%}", va="center", fontsize=8)
    axes.set(xlim=(0, 1), xticks=[], yticks=[])
    axes.grid(visible=False)


def confidence(content: bytes, truths: Mapping[str, str]) -> Shown:
    """How sure the batch's predictions are where they are right and where they are wrong.

    `content` is predictions.csv; `truths` has the class of each of its files.
    """
    rows = [row for row in csv.DictReader(io.StringIO(content.decode())) if not row["error"]]
    sure = np.array([float(row["probability_1"]) for row in rows])
    right = np.array([row["breed_1"] == truths[row["file"]] for row in rows], bool)

    def draw(figure: Figure) -> None:
        axes, bins = figure.subplots(), [each / 20 for each in range(21)]
        axes.hist([sure[right], sure[~right]], bins=bins, stacked=True, color=[_TRUE, "#b3402a"],
                  label=[f"right ({right.sum():,})", f"wrong ({(~right).sum():,})"])  # fmt: skip
        axes.set(xlabel="probability of the first breed", ylabel="pictures", xlim=(0, 1))
        figure.legend(loc="outside upper left", ncols=2)

    return Shown(_png(draw, 9, 3), f"a chart: how sure {len(rows):,} predictions are")


# ── drawing ───────────────────────────────────────────────────────────────────────────────────────────


def _grid(figure: Figure, count: int, columns: int) -> list[Axes]:
    """So many places without axes."""
    rows = figure.subplots(-(-count // columns), columns, squeeze=False)
    for axes in rows.flat:
        axes.set_axis_off()
    return list(rows.flat)


def _rows(count: int) -> int:
    return -(-count // COLUMNS)


def _upright(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def _png(draw: Callable[[Figure], None], width: float, height: float, dpi: int = 100) -> bytes:
    """What `draw` draws on a figure of so many inches."""
    stream = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        draw(figure)
        figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()
