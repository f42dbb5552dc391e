#!/usr/bin/env python3
"""What looking on costs a training: the debugger's saving and rules, and the profiler, at default settings.

  python benchmarks/watching_overhead.py
  python benchmarks/watching_overhead.py --unfreeze all --batch-size 8 --steps 12
  python benchmarks/watching_overhead.py --cached --batch-size 64 --steps 105

Trains ResNet50 on synthetic pictures that lie in memory, for an epoch at a time: with nobody looking on, with
the debugger, with the profiler, in turn and in an order that changes. The overhead is what an epoch with one
takes longer than the mean of the epochs with nobody in its round; the figure is the median of the rounds.
Besides, what the debugger has measured of itself. Weights are random numbers, which cost the same. Each epoch
is a run of its own, so the debugger has its free 0.4 seconds in each: in longer runs it takes
less. With --cached only the head is trained, on features in memory: an epoch takes about a second, and only
the seconds say something. Writes benchmarks/results/watching-overhead-<what>-<device>.json, and the table
beside it; <what> is the layers that are unfrozen, or `cached`.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from trainer.backbones import Classifier, build_classifier, find_backbone, new_head
from trainer.config import UNFREEZE, Hyperparameters
from trainer.debugger import Debugger, Steps
from trainer.engine import fit
from trainer.findings import Finding
from trainer.hook import DebugSettings
from trainer.job import open_machine
from trainer.loading import Batch, Request, normalise
from trainer.machine import Machine
from trainer.network import HeadOnly
from trainer.profiler import Profiler
from trainer.termination import Stop
from trainer.training_run import machine_of, versions
from trainer.watch import NOBODY, Observer, Watch

ROOT = Path(__file__).resolve().parents[1]
NONE, DEBUGGER, PROFILER = "nobody", "debugger", "profiler"
TARGETS = {DEBUGGER: 0.03, PROFILER: 0.02}


class Synthetic:
    """Pictures in memory: `held` of them are real, the rest repeat them."""

    def __init__(self, count: int, held: int, classes: int) -> None:
        random = torch.Generator().manual_seed(0)
        self.pictures = torch.randint(0, 256, (held, 224, 224, 3), dtype=torch.uint8, generator=random)
        self.targets = torch.randint(0, classes, (count,), generator=random)

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """Pictures that are there already."""
        for request in requests:
            samples = torch.tensor([sample for sample, _ in request])
            yield self.pictures[samples % len(self.pictures)], self.targets[samples]

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        """To the device, normalised."""
        return normalise(inputs.to(device))


class SyntheticFeatures(Synthetic):
    """Features in memory, as ResNet50 has them."""

    def __init__(self, count: int, held: int, classes: int) -> None:
        super().__init__(count, 1, classes)
        self.pictures = torch.rand(held, 2048, generator=torch.Generator().manual_seed(0))

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        """To the device."""
        return inputs.to(device)


def main() -> int:
    """Measure, print, write."""
    arguments = parse_arguments()
    settings = Hyperparameters(
        backbone="resnet50", weights="none", unfreeze=arguments.unfreeze, epochs=1,
        feature_cache=arguments.cached,
        batch_size=arguments.batch_size, learning_rate=1e-6,  # random layers diverge with a usual one
    )  # fmt: skip
    with open_machine(settings, Stop()) as machine, TemporaryDirectory() as folder:
        model = network(settings, machine)
        held = SyntheticFeatures if arguments.cached else Synthetic
        train = held(arguments.steps * arguments.batch_size, arguments.batch_size, 133)
        run(model, train, settings, machine, kind=NONE, folder=Path(folder, "warm"))
        rounds = []
        for number in track(range(arguments.rounds), description="rounds", disable=not sys.stderr.isatty()):
            order = [NONE, DEBUGGER, NONE, PROFILER]
            turned = order[number % 4 :] + order[: number % 4]
            measured: dict[str, list[dict[str, float]]] = {NONE: [], DEBUGGER: [], PROFILER: []}
            for place, kind in enumerate(turned):
                place_of_run = Path(folder, f"{number}-{place}")
                measured[kind].append(run(model, train, settings, machine, kind=kind, folder=place_of_run))
            rounds.append(measured)
        result = {**summary(rounds), "machine": machine_of(machine), "versions": versions()}
    result |= {
        "steps": arguments.steps, "batch_size": arguments.batch_size,
        "unfreeze": arguments.unfreeze, "cached": arguments.cached,
        "command": shlex.join(["python", *sys.argv]), "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    write(result, rounds)
    return 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--unfreeze", choices=UNFREEZE, default="none")
    what.add_argument("--cached", action="store_true", help="train a head on features in memory")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60, help="of an epoch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8)
    return parser.parse_args()


def network(settings: Hyperparameters, machine: Machine) -> Classifier | HeadOnly:
    """ResNet50 with random weights, or its head alone."""
    if settings.cached:
        return HeadOnly(new_head(2048, 133)).to(machine.device)
    model = build_classifier(find_backbone("resnet50"), None, classes=133, seed=0)
    model.unfreeze(settings.unfreeze)  # type: ignore[arg-type]
    model.to(machine.device).to(memory_format=torch.channels_last)
    return model


def run(
    model: Classifier | HeadOnly,
    train: Synthetic,
    settings: Hyperparameters,
    machine: Machine,
    *,
    kind: str,
    folder: Path,
) -> dict[str, float]:
    """Train an epoch; its seconds by the engine's count, and what the debugger says it has taken."""
    debuggers: list[Debugger] = []

    def start(model: Any, steps: int, tell: Any) -> Debugger:
        counts = torch.bincount(train.targets).tolist()
        debuggers.append(
            Debugger(
                folder / "tensors",
                model,
                DebugSettings(),
                class_counts=counts,
                steps=Steps(steps, 1),
                on_finding=tell,
            )
        )
        return debuggers[0]

    profiler = Profiler(machine.device, folder) if kind == PROFILER else None
    watch: Watch = NOBODY
    if kind != NONE:
        watch = Observer(
            "resnet50",
            profiler,
            start if kind == DEBUGGER else None,
            tell=_ignore,
            on_epoch=lambda: None,
            stop=machine.stop,
            stopping=False,
        )
    seen: dict[str, float] = {}

    def report(values: Mapping[str, float], epoch: int) -> None:
        seen["seconds"] = len(train) / values["train:images_per_second"]

    validation = type(train)(settings.batch_size, settings.batch_size, 133)
    begun = time.perf_counter()
    if profiler is not None:
        with profiler:
            fit(model, train, validation, settings, machine, checkpoints=folder, report=report, watch=watch)
    else:
        fit(model, train, validation, settings, machine, checkpoints=folder, report=report, watch=watch)
    seen["whole"] = time.perf_counter() - begun
    if debuggers:
        seen["spent"] = debuggers[0].seconds
        seen["saves"] = debuggers[0].saves
    return seen


def _ignore(finding: Finding) -> None:
    """Random weights have their findings."""


def summary(rounds: list[dict[str, list[dict[str, float]]]]) -> dict[str, Any]:
    """Overheads as shares of the training time."""
    result: dict[str, Any] = {"rounds": len(rounds)}
    for kind in (DEBUGGER, PROFILER):
        shares, seconds = [], []
        for measured in rounds:
            plain = statistics.mean(each["seconds"] for each in measured[NONE])
            shares += [each["seconds"] / plain - 1 for each in measured[kind]]
            seconds += [each["seconds"] - plain for each in measured[kind]]
        result[kind] = {
            "median": statistics.median(shares), "rounds": shares, "target": TARGETS[kind],
            "seconds": statistics.median(seconds),
        }  # fmt: skip
    own = [each for measured in rounds for each in measured[DEBUGGER]]
    result[DEBUGGER]["by_its_own_clock"] = statistics.median(each["spent"] / each["seconds"] for each in own)
    result[DEBUGGER]["saves_of_an_epoch"] = statistics.median(each["saves"] for each in own)
    plain = [each["seconds"] for measured in rounds for each in measured[NONE]]
    noise = [abs(measured[NONE][0]["seconds"] / measured[NONE][1]["seconds"] - 1) for measured in rounds]
    result["plain_seconds"], result["noise"] = statistics.median(plain), statistics.median(noise)
    return result


def write(result: Mapping[str, Any], rounds: list[Any]) -> None:
    """Print the table, and write it beside the figures."""
    what = "cached" if result["cached"] else result["unfreeze"]
    title = "a head on cached features" if result["cached"] else f"ResNet50, unfreeze {what}"
    table = Table(title=f"{title}, batch {result['batch_size']}")
    for column in ("looking on", "longer", "of the rounds", "target", "seconds"):
        table.add_column(column, justify="left" if column == "looking on" else "right")
    for kind in (DEBUGGER, PROFILER):
        shares = result[kind]["rounds"]
        table.add_row(
            kind,
            f"{result[kind]['median']:+.2%}",
            f"{min(shares):+.1%} to {max(shares):+.1%}",
            "" if result["cached"] else f"< {TARGETS[kind]:.0%}",
            f"{result[kind]['seconds']:+.2f}",
        )
    lines = (
        f"by the debugger's own clock {result[DEBUGGER]['by_its_own_clock']:.2%}, "
        f"{result[DEBUGGER]['saves_of_an_epoch']:.0f} saves in {result['steps']} steps",
        f"two epochs with nobody differ by {result['noise']:.2%} (median)",
        f"{result['machine']['processor']}, {result['machine']['cpus']} CPUs, {result['machine']['device']}; "
        f"{result['command']}",
    )
    device = "cpu" if result["machine"]["device"] == "cpu" else "gpu"
    stem = ROOT / "benchmarks" / "results" / f"watching-overhead-{what}-{device}"
    stem.with_suffix(".json").write_text(json.dumps({**result, "measured": rounds}, indent=1) + "\n")
    with stem.with_suffix(".txt").open("w", encoding="utf-8") as file:
        for console in (Console(), Console(file=file, width=100)):
            console.print(table)
            for line in lines:
                console.print(line, soft_wrap=True, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
