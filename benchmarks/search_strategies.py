#!/usr/bin/env python3
"""Whether a Bayesian search finds better hyperparameters than a random one, and with fewer trials.

  python benchmarks/search_strategies.py --record --data ../dogs   # once: real trials on a grid
  python benchmarks/search_strategies.py                           # searches among what was recorded

The searches are those of scripts/launch_hpo.py, the ranges those of config/hpo.toml. Each strategy searches
with forty seeds and twenty trials, one after the other, for the best of: the recorded validation accuracy and
the recorded validation loss, between the recorded learning rates on a straight line; and Branin's and
Hartmann's functions of two and six variables, which are usual for this purpose and cost nothing. Told are the
median of the best values, and after how many trials the median search was as good as the random one is in the
end.

Writes benchmarks/results/search-strategies.json with command and hardware, its table as .txt and a plot as
.png; --record writes benchmarks/results/recorded-trials.csv.
"""

import csv
import json
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from agreement import processor
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from launcher import arguments as command
from launcher import command_line, requests, search, study, study_storage, tuning_request
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.search import Range, Search
from trainer.metrics import METRICS, metric_definitions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
RECORDED = RESULTS / "recorded-trials.csv"
LEARNING_RATES = [float(f"{10**exponent:.4g}") for exponent in np.linspace(-3, -1, 9)]
BATCH_SIZES, EPOCHS = (16, 32, 64, 128), (2, 3, 4, 5)
STRATEGIES = ("Random", "Bayesian")
SEEDS, TRIALS = 40, 20
Objective = Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True)
class Problem:
    """What is searched, and for what; the larger the objective the better."""

    name: str
    ranges: Mapping[str, Range]
    objective: Objective


# ── real trials, recorded once ────────────────────────────────────────────────────────────────────────


def record(data: Path, backbone: str) -> None:
    """Run a trial for each point of the grid, on cached features, and write what it reported."""
    grid = list(product(LEARNING_RATES, BATCH_SIZES, EPOCHS))
    with tempfile.TemporaryDirectory(prefix="recorded-") as folder:
        run = _Trial(data, backbone, Path(folder))
        first = run(grid[0])  # computes the features that the others find
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            others = track(pool.map(run, grid[1:]), total=len(grid) - 1, console=Console(stderr=True))
            rows = [first, *others]
    with RECORDED.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["learning-rate", "batch-size", "epochs", "validation:accuracy", "validation:loss"])
        writer.writerows((*point, *row) for point, row in zip(grid, rows, strict=True))


@dataclass(frozen=True)
class _Trial:
    """Runs hpo.py at a point; raises `WorkFailed`."""

    data: Path
    backbone: str
    folder: Path

    def __call__(self, point: tuple[float, int, int]) -> tuple[float, float]:
        """Return validation accuracy and loss, as the platform takes them."""
        own = self.folder / "-".join(map(str, point))
        values = dict(zip(("learning-rate", "batch-size", "epochs"), map(str, point), strict=True))
        places = {"checkpoints": own, "output-data-dir": own / "output", "cache": self.folder / "cache"}
        settings = {**values, **places, "data": self.data, "backbone": self.backbone, "workers": "0"}
        flags = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
        program = [sys.executable, str(ROOT / "container_train/hpo.py"), *flags]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        if done.returncode:
            raise WorkFailed(f"{shlex.join(program)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        found = {metric.name: re.findall(metric.regex, done.stdout) for metric in METRICS}
        return float(found["validation:accuracy"][-1]), float(found["validation:loss"][-1])


def recorded(column: str, sign: int) -> Objective:
    """Return a recorded metric as a function; raises SettingsError where nothing is recorded."""
    if not RECORDED.is_file():
        raise SettingsError(f"{RECORDED} is missing: run with --record --data FOLDER first")
    with RECORDED.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    lines = {
        (size, epochs): sorted(
            (math.log(float(row["learning-rate"])), sign * float(row[column]))
            for row in rows
            if (int(row["batch-size"]), int(row["epochs"])) == (size, epochs)
        )
        for size, epochs in product(BATCH_SIZES, EPOCHS)
    }

    def objective(values: Mapping[str, Any]) -> float:
        steps, found = zip(*lines[int(values["batch-size"]), int(values["epochs"])], strict=True)
        return float(np.interp(math.log(float(values["learning-rate"])), steps, found))

    return objective


# ── functions that cost nothing ───────────────────────────────────────────────────────────────────────
# In the names of hyperparameters whose values lie between 0 and 0.9, since the request is checked.

_PLACES = ("warmup", "label-smoothing", "dropout", "weight-decay", "mixup", "ema")
_UNIT = 0.9


def branin(values: Mapping[str, Any]) -> float:
    """Branin's function, negated: three equally good places. Its best value is −0.398."""
    x, y = 15 * float(values[_PLACES[0]]) / _UNIT - 5, 15 * float(values[_PLACES[1]]) / _UNIT
    ridge = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return -(ridge**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(values: Mapping[str, Any]) -> float:
    """Hartmann's function of six variables, negated: one narrow best place. Its best value is 3.322."""
    x = np.array([float(values[name]) / _UNIT for name in _PLACES])
    return float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-(_A * (x - _P) ** 2).sum(1)))


def problems() -> list[Problem]:
    """Return all that is searched."""
    ours = search.read(search.DEFAULT_FILE).ranges
    unit = {name: Range(continuous=(0, _UNIT)) for name in _PLACES}
    return [
        Problem("validation accuracy", ours, recorded("validation:accuracy", 1)),
        Problem("validation loss, negated", ours, recorded("validation:loss", -1)),
        Problem("Branin", {name: unit[name] for name in _PLACES[:2]}, branin),
        Problem("Hartmann 6", unit, hartmann),
    ]


# ── the searches ──────────────────────────────────────────────────────────────────────────────────────


def request_for(problem: Problem, strategy: str, seed: int) -> Request:
    """Return the request of a search for it, checked like any other."""
    settings = Search(
        strategy=strategy, max_trials=TRIALS, seed=seed, early_stopping="Off", ranges=problem.ranges
    )
    training = requests.training_job(
        name="benchmark",
        image="none",
        channels={"training": "s3://none/none"},
        hyperparameters={},
        metric_definitions=metric_definitions(),
        output_uri="s3://none/none",
    )
    return tuning_request.tuning_job("benchmark", settings, training)


def best_so_far(problem: Problem, strategy: str, seed: int) -> list[float]:
    """Search once; returns the best value after each trial."""
    with tempfile.TemporaryDirectory() as folder:
        made = study.create(request_for(problem, strategy, seed), study_storage.in_folder(Path(folder)))
        made.optuna.optimize(lambda trial: problem.objective(made.values(trial)), n_trials=TRIALS)
        found = [trial.value for trial in made.optuna.get_trials(deepcopy=False)]
    return [float(value) for value in np.maximum.accumulate(found)]


def compare(problem: Problem, curves: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Any]:
    """Return the result's entry for one problem."""
    medians = {strategy: np.median(np.array(runs), axis=0) for strategy, runs in curves.items()}
    goal = medians["Random"][-1]
    return {
        "problem": problem.name,
        "median best value": {strategy: round(float(median[-1]), 5) for strategy, median in medians.items()},
        "trials until the median is as good as random search in the end": {
            strategy: int(np.argmax(median >= goal)) + 1 if median[-1] >= goal else None
            for strategy, median in medians.items()
        },
        "best value after each trial": {
            strategy: [list(run) for run in runs] for strategy, runs in curves.items()
        },
    }


# ── the report ────────────────────────────────────────────────────────────────────────────────────────


def as_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Lay the comparison out."""
    made = Table(title=f"{SEEDS} seeds, {TRIALS} trials each", title_justify="left")
    for name in (
        "objective",
        *(f"{each}, median best" for each in STRATEGIES),
        "trials needed, random",
        "Bayesian",
    ):
        made.add_column(name, justify="left" if name == "objective" else "right")
    for entry in entries:
        best = entry["median best value"]
        needed = entry["trials until the median is as good as random search in the end"]
        made.add_row(
            entry["problem"],
            *(f"{best[strategy]:.4f}" for strategy in STRATEGIES),
            *(str(needed[strategy] or f"more than {TRIALS}") for strategy in STRATEGIES),
        )
    return made


def draw(entries: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Plot the median best value, and the middle half of the seeds, after each trial."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, entry in zip(figure.subplots(2, 2).flat, entries, strict=True):
        for strategy, colour in zip(STRATEGIES, ("#9aa4b1", "#1b7f4b"), strict=True):
            runs = np.array(entry["best value after each trial"][strategy])
            low, middle, high = np.quantile(runs, [0.25, 0.5, 0.75], axis=0)
            trials = range(1, TRIALS + 1)
            axes.fill_between(trials, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(trials, middle, color=colour, label=strategy)
        axes.set(title=entry["problem"], xlabel="trials", ylabel="best value")
        axes.legend(frameon=False)
    figure.savefig(target, dpi=130)


def main() -> int:
    """Record, or search and write; returns the exit code."""
    parser = command.parser(__doc__)
    parser.add_argument("--record", action="store_true", help="run the real trials, about ten minutes")
    parser.add_argument("--data", type=Path, default=Path("data/dogImages"), help="has train/ and valid/")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    options = parser.parse_args()
    if options.record:
        record(options.data, options.backbone)
        return 0
    entries = []
    for problem in problems():
        seeds = track(range(SEEDS), description=problem.name, console=Console(stderr=True))
        pairs = [
            {strategy: best_so_far(problem, strategy, seed) for strategy in STRATEGIES} for seed in seeds
        ]
        entries.append(
            compare(problem, {strategy: [pair[strategy] for pair in pairs] for strategy in STRATEGIES})
        )
    result = {
        "command": shlex.join(["python", "benchmarks/search_strategies.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": processor(),
        "versions": {name: version(name) for name in ("optuna", "torch", "scipy")},
        "problems": entries,
    }
    target = RESULTS / "search-strategies.json"
    target.write_text(json.dumps(result) + "\n", encoding="utf-8")
    console = Console(record=True, width=110)
    console.print(as_table(entries))
    target.with_suffix(".txt").write_text(console.export_text(), encoding="utf-8")
    draw(entries, target.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
