#!/usr/bin/env python3
"""How much faster a search for hyperparameters is with the feature cache than the plain way.

  python benchmarks/hpo_sweep.py --data ../dogs --backbone efficientnet_lite0 --breeds 20
  python benchmarks/hpo_sweep.py --data ../dogs --backbone resnet50 --weights none --breeds 6

The original's six trials, once as it does them (the backbone sees every picture in every epoch, float32)
and once with a cache that is empty at first: the same pictures, seeds and machine, the two ways taking turns
trial by trial. A trial is the process that a person would start, `python container_train/hpo.py …`, and its
time is that of the process from its start to its end. Then fifty trials with an empty cache, as many at once
as there are cores; what fifty plain ones take is worked out from the six.

Writes benchmarks/results/hpo-sweep-<backbone>.json with command and hardware, and the table as .txt.
"""

import csv
import dataclasses
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from agreement import processor
from rich.console import Console
from rich.table import Table

from launcher import arguments as command
from launcher import command_line
from launcher.errors import SettingsError, WorkFailed
from trainer.cpus import cpu_limit
from trainer.metrics import METRICS, PREFIX

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
PLAIN_PRECISIONS = ("float32", "bfloat16")
CACHED = "cached"
FASTER, FASTER_THAN_ORIGINAL = "times faster", "times faster, passes of the original alone"
DIFFERENCE = "difference of the best validation accuracy, points"
LARGEST_ERROR, TOLERATED_ERROR = "largest error of a trial's seconds, share", 0.25
SEED = 0
TARGETS = "at least 25 times faster on six trials, 200 times on fifty; best accuracy within 0.5 point"
# What a person waits for only the first time after a restart of the machine, on either side.
WARM_UP = "import openvino, timm, torchvision, trainer.job"


@dataclass(frozen=True)
class Configuration:
    """What a trial tries."""

    learning_rate: float
    batch_size: int
    epochs: int

    def flags(self) -> list[str]:
        """As options of hpo.py."""
        values = dataclasses.asdict(self).items()
        return [text for name, value in values for text in (f"--{name.replace('_', '-')}", str(value))]


# The original's ranges: learning rate 0.001–0.1, batch size 16–128, epochs 2–5.
SIX = (
    Configuration(0.001, 64, 2),
    Configuration(0.003, 16, 4),
    Configuration(0.01, 128, 5),
    Configuration(0.0295, 32, 3),  # what the original's search found
    Configuration(0.05, 16, 5),
    Configuration(0.1, 128, 2),
)


def random_configurations(count: int) -> list[Configuration]:
    """Draw configurations from the same ranges, the learning rate evenly on a logarithmic scale."""
    random = np.random.default_rng(SEED)
    return [
        Configuration(
            float(f"{10 ** random.uniform(-3, -1):.3g}"),
            int(random.choice([16, 32, 64, 128])),
            int(random.integers(2, 6)),
        )
        for _ in range(count)
    ]


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: seconds from the process's start to its end, best validation accuracy."""

    configuration: Configuration
    seconds: float
    accuracy: float

    def as_dict(self) -> dict[str, Any]:
        """For the result file."""
        measured = {"seconds": round(self.seconds, 2), "best validation accuracy": self.accuracy}
        return {**dataclasses.asdict(self.configuration), **measured}


@dataclass(frozen=True)
class Pictures:
    """How many readable pictures the splits have, and how often they pass a plain trial's backbone.

    The original's loop passes both splits once an epoch. Ours passes the validation pictures once more at the
    end and, with pretrained weights, the training pictures once more at the beginning, for the head's start.
    """

    train: int
    valid: int
    pretrained: bool

    @property
    def extra(self) -> int:
        """Passes of a trial that the original's loop does without."""
        return self.valid + (self.train if self.pretrained else 0)

    def passes(self, configuration: Configuration) -> int:
        """All passes of a trial."""
        return configuration.epochs * (self.train + self.valid) + self.extra


@dataclass(frozen=True)
class Bench:
    """What all trials have in common; every side keeps its own cache in `folder`."""

    data: Path
    backbone: str
    weights: str
    folder: Path

    def trial(self, side: str, name: str, configuration: Configuration, *, cores: str = "") -> Outcome:
        """Run hpo.py once and wait for it, on the listed cores or on all; raises `WorkFailed`."""
        precision = {"float32": "false", "bfloat16": "true", CACHED: "true"}[side.rsplit(maxsplit=1)[-1]]
        program = [
            *(["taskset", "--cpu-list", cores] if cores else []),
            *[sys.executable, str(ROOT / "container_train/hpo.py"), *configuration.flags()],
            *["--backbone", self.backbone, "--weights", self.weights, "--seed", str(SEED)],
            *["--feature-cache", str(side.endswith(CACHED)).lower(), "--mixed-precision", precision],
            *["--data", str(self.data), "--cache", str(self.folder / side / "cache")],
            # A trial that found its checkpoints would be finished before it began.
            *["--checkpoints", str(self.folder / side / name / "checkpoints")],
            *["--output-data-dir", str(self.folder / side / name / "output")],
        ]
        begun = time.perf_counter()
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begun
        if done.returncode:
            raise WorkFailed(f"{shlex.join(program)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        outcome = Outcome(configuration, seconds, best_accuracy(done.stdout))
        command_line.tell(f"{side}, {name}: {seconds:.1f} s, accuracy {outcome.accuracy:.4f}")
        return outcome

    def at_once(
        self, side: str, configurations: Sequence[Configuration], *, cores: Sequence[str]
    ) -> tuple[float, list[Outcome]]:
        """Run trials, as many at once as `cores` has places; returns the seconds of all together."""

        def one(numbered: tuple[int, Configuration]) -> Outcome:
            number, configuration = numbered
            place = cores[number % len(cores)]
            return self.trial(side, f"at-once-{number + 1}", configuration, cores=place)

        begun = time.perf_counter()
        with ThreadPoolExecutor(len(cores)) as pool:
            outcomes = list(pool.map(one, enumerate(configurations)))
        return time.perf_counter() - begun, outcomes

    def pictures(self) -> Pictures:
        """Count the pictures as a finished trial did."""
        report = next(self.folder.glob("*/*/output/classes.csv"))
        with report.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        train, valid = (sum(int(row[split]) for row in rows) for split in ("train", "valid"))
        return Pictures(train, valid, pretrained=self.weights != "none")


def best_accuracy(log: str) -> float:
    """Return the best epoch's validation accuracy, found as the platform finds it."""
    (regex,) = [metric.regex for metric in METRICS if metric.name == "validation:accuracy"]
    lines = [line for line in log.splitlines() if line.startswith(PREFIX)]
    return max(float(found[1]) for line in lines if (found := re.search(regex, line)))


# ── the six trials ────────────────────────────────────────────────────────────────────────────────────


def run_six(bench: Bench, sides: Sequence[str]) -> dict[str, list[Outcome]]:
    """Run every trial on every side, the sides taking turns."""
    outcomes: dict[str, list[Outcome]] = {side: [] for side in sides}
    for number, configuration in enumerate(SIX, start=1):
        for side in sides:
            outcomes[side].append(bench.trial(side, f"trial-{number}", configuration))
    return outcomes


def total(outcomes: Sequence[Outcome]) -> float:
    """Return the seconds of all trials, one after the other."""
    return sum(outcome.seconds for outcome in outcomes)


def best(outcomes: Sequence[Outcome]) -> float:
    """Return what the search found: the best validation accuracy of all trials."""
    return max(outcome.accuracy for outcome in outcomes)


@dataclass(frozen=True)
class PlainCost:
    """A plain trial's time: `start` seconds, and so many for each pass of a picture, by the batch size.

    On a processor small batches are the faster ones: what a layer leaves stays in the cache for the next.
    """

    pictures: Pictures
    start: float
    pass_seconds: Mapping[int, float]
    largest_error: float  # of a trial's seconds by these figures, as a share

    @classmethod
    def measured(cls, outcomes: Sequence[Outcome], pictures: Pictures, *, start: float) -> "PlainCost":
        """From measured trials; `start` is what a process takes that has next to nothing to do."""
        passes = {outcome: pictures.passes(outcome.configuration) for outcome in outcomes}
        by_batch = {
            size: [outcome for outcome in outcomes if outcome.configuration.batch_size == size]
            for size in sorted({outcome.configuration.batch_size for outcome in outcomes})
        }
        cost = {
            size: (total(same) - start * len(same)) / sum(passes[outcome] for outcome in same)
            for size, same in by_batch.items()
        }
        errors = [
            abs(start + cost[each.configuration.batch_size] * passes[each] - each.seconds) / each.seconds
            for each in outcomes
        ]
        return cls(pictures, start, cost, max(errors))

    def seconds(self, configurations: Sequence[Configuration]) -> float:
        """What plain trials take, one after the other."""
        return sum(
            self.start + self.pass_seconds[each.batch_size] * self.pictures.passes(each)
            for each in configurations
        )

    def extra_seconds(self, configurations: Sequence[Configuration]) -> float:
        """What the passes that the original's loop does without add to them."""
        return sum(self.pass_seconds[each.batch_size] * self.pictures.extra for each in configurations)

    def as_dict(self) -> dict[str, Any]:
        """For the result file."""
        return {
            "seconds to start": round(self.start, 2),
            "pictures per second by batch size": {
                str(size): round(1 / seconds, 1) for size, seconds in self.pass_seconds.items()
            },
            "passes of a trial that the original does without": self.pictures.extra,
            LARGEST_ERROR: round(self.largest_error, 3),
        }


# ── the fifty trials ──────────────────────────────────────────────────────────────────────────────────


def gain_at_once(bench: Bench, side: str, alone: Sequence[Outcome], *, processes: int) -> float:
    """Return how many times faster plain trials are when several run at once, each on cores of its own.

    Measured with the shortest ones, so that it costs little; below 1 they are slower.
    """
    shortest = sorted(alone, key=lambda outcome: outcome.configuration.epochs)[:processes]
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    places = [",".join(cores[place :: len(shortest)]) for place in range(len(shortest))]
    seconds, _ = bench.at_once(side, [outcome.configuration for outcome in shortest], cores=places)
    return total(shortest) / seconds


def compare_many(
    bench: Bench, six: Mapping[str, Sequence[Outcome]], costs: Mapping[str, PlainCost], options: Any
) -> dict[str, Any]:
    """Run many trials with an empty cache, and work out what plain ones take; returns the result's entry."""
    configurations = random_configurations(options.trials)
    seconds, outcomes = bench.at_once(f"many {CACHED}", configurations, cores=[""] * options.parallel)
    rivals = {}
    for side, cost in costs.items():
        gain = gain_at_once(bench, side, six[side], processes=min(options.parallel, len(SIX)))
        plain, extra = cost.seconds(configurations), cost.extra_seconds(configurations)
        rivals[side] = {
            "extrapolated": True,
            "gain of running several at once": round(gain, 3),
            **compared(plain / max(1.0, gain), extra / max(1.0, gain), seconds),
        }
    return {
        "trials": len(configurations),
        "at once": options.parallel,
        "cached seconds": round(seconds, 1),
        "cached seconds of a trial, median": round(statistics.median(each.seconds for each in outcomes), 2),
        "cached best validation accuracy": best(outcomes),
        "rivals": rivals,
    }


def compared(plain: float, extra: float, cached: float) -> dict[str, float]:
    """Return the seconds of two sides and their ratio, also without the plain side's `extra` seconds."""
    return {
        "plain seconds": round(plain, 1),
        FASTER: round(plain / cached, 1),
        "plain seconds, passes of the original alone": round(plain - extra, 1),
        FASTER_THAN_ORIGINAL: round((plain - extra) / cached, 1),
    }


# ── the report ────────────────────────────────────────────────────────────────────────────────────────


def compare_six(six: Mapping[str, Sequence[Outcome]], costs: Mapping[str, PlainCost]) -> dict[str, Any]:
    """Return the result's entry for the six trials; with random weights accuracies mean nothing."""
    cached = six[CACHED]
    points = {side: round(100 * (best(cached) - best(six[side])), 2) for side in costs}
    rivals = {
        side: {
            **compared(total(six[side]), cost.extra_seconds(SIX), total(cached)),
            DIFFERENCE: points[side] if cost.pictures.pretrained else None,
            "plain cost": cost.as_dict(),
        }
        for side, cost in costs.items()
    }
    return {
        "trials": len(SIX),
        "cached seconds": round(total(cached), 1),
        "rivals": rivals,
        "each": {side: [outcome.as_dict() for outcome in outcomes] for side, outcomes in six.items()},
    }


def table_of_six(title: str, six: Mapping[str, Sequence[Outcome]]) -> Table:
    """Lay out the seconds and accuracies of the six trials."""
    table = Table(title=title, title_justify="left")
    columns = ["learning rate", "batch", "epochs", *(f"{side}, s" for side in six)]
    for name in [*columns, *(f"{side}, acc." for side in six)]:
        table.add_column(name, justify="right")
    for row in zip(*six.values(), strict=True):
        settings = dataclasses.astuple(row[0].configuration)
        seconds = [f"{outcome.seconds:.1f}" for outcome in row]
        table.add_row(*map(str, settings), *seconds, *(f"{outcome.accuracy:.2%}" for outcome in row))
    table.add_section()
    sums = [f"{total(outcomes):.1f}" for outcomes in six.values()]
    table.add_row("sum, best", "", "", *sums, *(f"{best(outcomes):.2%}" for outcomes in six.values()))
    return table


def table_of_ratios(result: Mapping[str, Any]) -> Table:
    """Lay out how many times faster the cache is."""
    table = Table(title=f"Target: {TARGETS}", title_justify="left")
    for name in ("trials", "rival", "plain, s", "cached, s", "times faster", "original passes alone"):
        table.add_column(name, justify="left" if name == "rival" else "right")
    for entry in filter(None, (result["six"], result["many"])):
        for side, rival in entry["rivals"].items():
            table.add_row(
                str(entry["trials"]),
                side,
                f"{rival['plain seconds']:,.0f}{' (extrapolated)' if 'extrapolated' in rival else ''}",
                f"{entry['cached seconds']:,.1f}",
                f"{rival[FASTER]:.1f}",
                f"{rival[FASTER_THAN_ORIGINAL]:.1f}",
            )
    return table


def remarks(result: Mapping[str, Any]) -> list[str]:
    """Say what the tables do not."""
    rivals = result["six"]["rivals"]
    disturbed = [
        f"What the {side} trials cost by batch size misses one by {error:.0%}: the machine was busy."
        for side, rival in rivals.items()
        if (error := rival["plain cost"][LARGEST_ERROR]) > TOLERATED_ERROR
    ]
    if result["weights"] == "none":
        return [*disturbed, "Random weights, for timing only: accuracies are not compared."]
    differences = [
        f"Best validation accuracy of the six, cached less {side}: {rival[DIFFERENCE]:+.2f} points."
        for side, rival in rivals.items()
    ]
    return disturbed + differences


def describe(options: Any, backbone: str) -> dict[str, Any]:
    """Return what produced the result: command, machine, versions, protocol."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    libraries = ("torch", "torchvision", "openvino", "timm", "numpy", "pillow")
    revision = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "command": shlex.join(["python", "benchmarks/hpo_sweep.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": f"{processor()}, {memory:.0f} GiB memory",
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in libraries}},
        "git revision": revision.stdout.strip() or None,
        "backbone": backbone,
        "weights": options.weights,
        "seed": SEED,
        "target": TARGETS,
        "protocol": [
            "a trial is a process of container_train/hpo.py, timed from its start to its end",
            "six trials: one process at a time, plain and cached in turn; every side has a cache folder of "
            "its own that is empty before its first trial and remembers the check of the picture files",
            f"{options.trials} trials: {options.parallel} cached processes at once from an empty cache; "
            "plain: worked out from the six plain trials, by passes and batch size, divided by the measured "
            "gain of running several at once, each on cores of its own, where that is faster",
            "passes of the original alone: without the plain side's one more pass over the validation "
            "pictures and, with pretrained weights, over the training pictures, each at its measured cost",
            "pictures and libraries were read once before, so that no side finds them on a cold disk",
        ],
    }


def write_result(result: Mapping[str, Any], text: str) -> Path:
    """Write the result and its tables."""
    RESULTS.mkdir(exist_ok=True)
    name = f"hpo-sweep-{result['backbone'].replace(':', '-')}"
    target = RESULTS / f"{name}.json"
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    target.with_suffix(".txt").write_text(
        "\n".join([f"$ {result['command']}", result["hardware"], result["date"], "", text]), encoding="utf-8"
    )
    return target


def link_breeds(data: Path, breeds: int, into: Path) -> Path:
    """Link the first class folders of train/ and valid/, all of them for 0, and read their pictures once."""
    names = sorted(entry.name for entry in (data / "train").iterdir() if entry.is_dir())
    for split in ("train", "valid"):
        (into / split).mkdir(parents=True)
        for name in names[: breeds or None]:
            (into / split / name).symlink_to(data / split / name, target_is_directory=True)
            for file in filter(Path.is_file, (data / split / name).rglob("*")):
                file.read_bytes()
    return into


def measure(options: Any, backbone: str, folder: Path) -> None:
    """Run, print and write everything for one backbone."""
    data = link_breeds(options.data.resolve(), options.breeds, folder / "data")
    subprocess.run([sys.executable, "-c", WARM_UP], check=True)
    bench = Bench(data, backbone, options.weights, folder)
    rivals = [f"plain {precision}" for precision in options.rivals]
    six = run_six(bench, [*rivals, CACHED])
    pictures = bench.pictures()
    start = statistics.median(outcome.seconds for outcome in six[CACHED])
    costs = {side: PlainCost.measured(six[side], pictures, start=start) for side in rivals}
    breeds = len(list((data / "train").iterdir()))
    result: dict[str, Any] = {
        **describe(options, backbone),
        "data": {"name": options.data.name, "breeds": breeds, **dataclasses.asdict(pictures)},
        "six": compare_six(six, costs),
        "many": compare_many(bench, six, costs, options) if options.trials else None,
    }
    console = Console(record=True, width=110)
    counts = f"{breeds} breeds, {pictures.train} + {pictures.valid} pictures"
    console.print(table_of_six(f"{backbone}, weights {options.weights}, {counts}", six))
    console.print(table_of_ratios(result))
    for line in remarks(result):
        console.print(line)
    written = write_result(result, console.export_text())
    print(f"written to {written.relative_to(ROOT)} and .txt")


def read_options() -> Any:
    """Parse the command line; raises `SettingsError`."""
    parser = command.parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/dogImages"), help="has train/ and valid/")
    parser.add_argument("--backbone", action="append", help="several times for several")
    parser.add_argument("--weights", choices=("auto", "none"), default="auto", help="none: timing only")
    parser.add_argument("--breeds", type=int, default=0, help="how many of the first class folders; 0 is all")
    parser.add_argument(
        "--rivals",
        type=lambda text: text.split(","),
        default=["float32"],
        help=f"precisions of the plain way: {','.join(PLAIN_PRECISIONS)}",
    )
    parser.add_argument("--trials", type=int, default=50, help="of the larger search; 0 leaves it out")
    parser.add_argument("--parallel", type=int, default=cpu_limit(), help="trials of it at once")
    options = parser.parse_args()
    if strangers := set(options.rivals) - set(PLAIN_PRECISIONS):
        raise SettingsError(f"--rivals names {', '.join(sorted(strangers))}: see --help")
    if not (options.data / "train").is_dir():
        raise SettingsError(f"{options.data} has no train/: pass --data FOLDER")
    return options


def main() -> int:
    """Measure every backbone; returns the exit code."""
    options = read_options()
    for backbone in options.backbone or ["efficientnet_lite0"]:
        with tempfile.TemporaryDirectory(prefix="hpo-sweep-") as folder:
            measure(options, backbone, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
