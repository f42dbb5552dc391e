#!/usr/bin/env python3
"""How much more memory training needs when there are ten times as many pictures: next to none.

  python benchmarks/memory_growth.py

Draws data sets of N and of 10 N small pictures and runs container_train/hpo.py on each: with the feature
cache empty, with the cache filled, and without it. The memory of all its processes is read every 50 ms, while
it has several less often, and its largest value in each phase is told: anonymous memory, which is the
program's own, and what is mapped from files, which the system takes back when it needs to. A page that
loader processes share with the one that they were forked from is counted once. Writes
benchmarks/results/memory-growth.json, and the table beside it.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
SIDE = 64  # pixels
CLASSES = 10
_POLL = 0.05  # seconds
_RESIDENT = re.compile(rb"^(?:Rss|Pss_)(Anon|File|Shmem):\s+(\d+) kB$", re.MULTILINE)


@dataclass
class Peak:
    """The largest memory of a phase, in bytes, of all processes together."""

    anonymous: int = 0
    mapped: int = 0
    shared: int = 0  # /dev/shm: batches on their way from loader processes

    def raise_to(self, memory: Mapping[str, int]) -> None:
        """Take what was read now into account."""
        self.anonymous = max(self.anonymous, memory["Anon"])
        self.mapped = max(self.mapped, memory["File"])
        self.shared = max(self.shared, memory["Shmem"])


@dataclass
class Watched:
    """A running program: the phase that it is in, and its peaks so far."""

    program: subprocess.Popen[str]
    phase: str
    peaks: dict[str, Peak] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)

    def follow(self, marks: Mapping[str, str]) -> None:
        """Read its lines until it ends, and change the phase with them."""
        for line in self.program.stdout or ():
            self.output.append(line)
            self.phase = next((phase for mark, phase in marks.items() if mark in line), self.phase)


def draw_pictures(folder: Path, pictures: int) -> None:
    """A data folder with as many training pictures, each another noise, and a tenth of that in valid/."""
    random = np.random.default_rng(0)
    for split, number in (("train", pictures), ("valid", pictures // 10)):
        for target in range(CLASSES):
            (folder / split / f"{target:03d}-class").mkdir(parents=True)
        for place in range(number):
            pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            file = folder / split / f"{place % CLASSES:03d}-class" / f"picture_{place:06d}.jpg"
            Image.fromarray(pixels).save(file, quality=50)


def processes(root: int) -> Iterator[int]:
    """The process and all that it started, and they."""
    yield root
    try:
        tasks = list(Path(f"/proc/{root}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended meanwhile
        return
    for child in children:
        yield from processes(int(child))


def memory_of(root: int) -> dict[str, int]:
    """Resident bytes of a process and its children, by kind; what several share is counted once.

    Read again when a process has come or gone meanwhile: what it shares would be counted twice. The kernel
    takes 15 ms a process to work out its share, so one without children is just asked.
    """
    while True:
        total = {"Anon": 0, "File": 0, "Shmem": 0}
        family = list(processes(root))
        source = "status" if len(family) == 1 else "smaps_rollup"
        for process in family:
            with suppress(OSError):  # it has ended meanwhile
                text = Path(f"/proc/{process}/{source}").read_bytes()
                for kind, kilobytes in _RESIDENT.findall(text):
                    total[kind.decode()] += int(kilobytes) * 1024
        if family == list(processes(root)):
            return total


def watch(command: list[str], marks: Mapping[str, str]) -> dict[str, Peak]:
    """Run a program and return its peaks by phase; stops with what it printed when it fails."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as program:
        watched = Watched(program, "checking")
        reader = threading.Thread(target=watched.follow, args=(marks,))
        reader.start()
        while program.poll() is None:
            begun = time.perf_counter()
            watched.peaks.setdefault(watched.phase, Peak()).raise_to(memory_of(program.pid))
            time.sleep(max(_POLL, 10 * (time.perf_counter() - begun)))  # a tenth of a core at most
        reader.join()
    if program.returncode:
        raise SystemExit(f"error: {shlex.join(command)} failed:\n{''.join(watched.output)}")
    return watched.peaks


def measure(pictures: int, backbone: str, folder: Path, console: Console) -> dict[str, Peak]:
    """The peaks of all phases of three runs on as many pictures."""
    with console.status(f"drawing {pictures:,} pictures"):
        draw_pictures(folder / "data", pictures)
    runs = {  # feature-cache, and the phase that begins with a line of the log
        "first run": ("true", {"weights from": "extraction", "features of valid": "training"}),
        "cached run": ("true", {"weights from": "training"}),
        "run without cache": ("false", {"weights from": "training"}),
    }
    found = {}
    for run, (cached, marks) in runs.items():
        with console.status(f"{run} on {pictures:,} pictures"):
            peaks = watch(hpo_command(folder, run.replace(" ", "-"), backbone, cached=cached), marks)
        found.update({f"{run}, {phase}": peak for phase, peak in peaks.items()})
    return found


def hpo_command(folder: Path, run: str, backbone: str, *, cached: str) -> list[str]:
    """One trial with random weights; the cache is one for all runs on these pictures, the rest is new."""
    settings = {
        "backbone": backbone,
        "weights": "none",
        "resize": str(SIDE),
        "crop": str(SIDE),
        "epochs": "1",
        "batch-size": "16",  # the few pictures are enough batches to fill the loader's queues as well
        "feature-cache": cached,
        "learning-rate": "1e-6",
        "data": str(folder / "data"),
        "cache": str(folder / "cache"),
        "checkpoints": str(folder / run / "checkpoints"),
        "output-data-dir": str(folder / run),
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return [sys.executable, str(ROOT / "container_train/hpo.py"), *options]


def growth(few: Peak, many: Peak, more_pictures: int) -> dict[str, float]:
    """What came with the additional pictures."""
    more = many.anonymous - few.anonymous
    return {"anonymous MB": _megabytes(more), "bytes a picture": round(more / more_pictures)}


def _megabytes(size: int) -> float:
    return round(size / 1e6, 1)


def as_table(figures: Mapping[str, Mapping[str, Any]], sizes: tuple[int, int]) -> Table:
    """The figures for a person."""
    title = f"Peak memory in MB, {sizes[0]:,} and {sizes[1]:,} training pictures"
    made = Table(title=title, title_justify="left")
    made.add_column("phase", no_wrap=True)
    for kind in ("anonymous", "from files"):
        for size in sizes:
            made.add_column(f"{kind}\n{size:,}", justify="right")
    made.add_column("anonymous\ngrowth", justify="right")
    made.add_column("bytes\na picture", justify="right")
    for phase, values in figures.items():
        peaks = [values[str(size)] for size in sizes]
        made.add_row(
            phase,
            *(f"{peak['anonymous MB']:,.0f}" for peak in peaks),
            *(f"{peak['from files MB']:,.0f}" for peak in peaks),
            f"{values['growth']['anonymous MB']:+,.1f}",
            f"{values['growth']['bytes a picture']:,}",
        )
    return made


def in_megabytes(peak: Peak) -> dict[str, float]:
    """A peak for the result file."""
    return {
        "anonymous MB": _megabytes(peak.anonymous),
        "from files MB": _megabytes(peak.mapped),
        "shared MB": _megabytes(peak.shared),
    }


def hardware() -> str:
    """The processor and the number of cores that may be used."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor())}, {len(os.sched_getaffinity(0))} cores"


def write_result(result: Mapping[str, Any], printed: str) -> Path:
    """Write the figures and the table."""
    target = ROOT / "benchmarks/results/memory-growth.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    target.with_suffix(".txt").write_text(printed, encoding="utf-8")
    return target


def main() -> int:
    """Measure, print, write; exit code 1 when the memory grows by more than the bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--pictures", type=int, default=2000, help="N (default: %(default)s)")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument(
        "--bound", type=float, default=40.0, help="MB of growth that are allowed (default: %(default)s)"
    )
    arguments = parser.parse_args()
    console = Console(record=True, width=None if sys.stdout.isatty() else 120)
    sizes = (arguments.pictures, 10 * arguments.pictures)
    peaks = []
    for size in sizes:
        with TemporaryDirectory(prefix="memory-growth-") as folder:
            peaks.append(measure(size, arguments.backbone, Path(folder), console))
    figures = {
        phase: {
            **{str(size): in_megabytes(peak[phase]) for size, peak in zip(sizes, peaks, strict=True)},
            "growth": growth(peaks[0][phase], peaks[1][phase], sizes[1] - sizes[0]),
        }
        for phase in peaks[0]
        if phase in peaks[1]
    }
    console.print(as_table(figures, sizes))
    result = {
        "command": shlex.join(["python", "benchmarks/memory_growth.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": {name: version(name) for name in ("torch", "openvino", "pillow")},
        "training pictures": sizes,
        "side in pixels": SIDE,
        "backbone": arguments.backbone,
        "peaks": figures,
    }
    print(f"written to {write_result(result, console.export_text()).relative_to(ROOT)}")
    return int(any(values["growth"]["anonymous MB"] > arguments.bound for values in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
