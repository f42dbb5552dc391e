#!/usr/bin/env python3
"""Whether the server stays as it is: an hour at 80 % of what it can do, no error, the same memory.

  python benchmarks/sustained_load.py                                  # an hour, ResNet50 with random weights
  python benchmarks/sustained_load.py --model runs/latest --minutes 10 # the model of a job
  python benchmarks/sustained_load.py --url http://127.0.0.1:8080      # an endpoint; its memory is not seen

Capacity is what eight clients get that each ask again at once, the median of three tries. Then requests come
at random at four fifths of that (or at `--rate`), whether those before are answered or not; a request's time
counts from the moment it was due. After each minute the memory of all the server's processes is read. It is
flat when the program's own memory (none that is mapped from files, which the system takes back), in the
median of the last third of the minutes, is at most 20 MB above that of the first third; the first minute is
the warm-up. Writes benchmarks/results/sustained-load.{json,txt,png}; exit code 1 when there was an error, a
process died, or memory grew.
"""

import argparse
import contextlib
import json
import platform
import shlex
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from matplotlib.figure import Figure
from memory_growth import memory_of
from rich.console import Console
from rich.progress import Progress
from serving import Server, Verdict, closed_loop, make_model, open_loop, ours, processor

RESULTS = Path(__file__).resolve().parent / "results/sustained-load"
SHARE = 0.8  # of the capacity
MOST_GROWTH_MB = 20


@dataclass(frozen=True)
class Minute:
    """What one stretch of the load found; times in milliseconds, memory in megabytes, None where not seen."""

    requests: int
    errors: int
    reasons: list[str]  # of the errors: the first few that differ
    p50: float
    p95: float
    p99: float
    slowest: float
    resident: float | None = None
    own: float | None = None  # of the resident memory: what is mapped from no file
    processes: tuple[int, ...] = ()


def capacity(server: Server, *, seconds: float) -> float:
    """Requests a second that eight clients get which each ask again at once; the median of three tries."""
    closed_loop(server, clients=8, seconds=seconds / 2)
    tries = [len(closed_loop(server, clients=8, seconds=seconds)) / seconds for _ in range(3)]
    return statistics.median(tries)


def minutes_of_load(
    server: Server, *, rate: float, count: int, seconds: float = 60, tell: Callable[[Minute], None]
) -> list[Minute]:
    """Load the server for so many stretches of so many seconds, and tell of each."""
    found = []
    for _ in range(count):
        found.append(_minute(server, rate=rate, seconds=seconds))
        tell(found[-1])
    return found


def _minute(server: Server, *, rate: float, seconds: float) -> Minute:
    load = open_loop(server, rate=rate, seconds=seconds)
    times = 1000 * np.array(load.seconds or [np.nan])
    p50, p95, p99 = (float(each) for each in np.percentile(times, [50, 95, 99]))
    family = server.family()
    memory = {kind: size / 1e6 for kind, size in memory_of(family[0].pid).items()} if family else {}
    return Minute(
        requests=len(load.seconds) + len(load.errors),
        errors=len(load.errors),
        reasons=sorted(set(load.errors))[:5],
        p50=p50,
        p95=p95,
        p99=p99,
        slowest=float(times.max()),
        resident=sum(memory.values()) if memory else None,
        own=memory["Anon"] + memory["Shmem"] if memory else None,
        processes=tuple(sorted(process.pid for process in family)),
    )


def verdicts(minutes: Sequence[Minute]) -> list[Verdict]:
    """No error, no process that died, flat memory; the last two where the processes are seen."""
    errors = sum(minute.errors for minute in minutes)
    total = sum(minute.requests for minute in minutes)
    judged = [Verdict("no error", f"{errors} of {total:,} requests", errors == 0 and total > 0)]
    if any(minute.processes for minute in minutes):
        changes = len({minute.processes for minute in minutes}) - 1
        judged.append(Verdict("the same processes from beginning to end", f"{changes} changes", changes == 0))
    own = [minute.own for minute in minutes[1:] if minute.own is not None]
    if len(own) >= 3:
        third = len(own) // 3
        growth = statistics.median(own[-third:]) - statistics.median(own[:third])
        judged.append(
            Verdict(
                f"memory grows by at most {MOST_GROWTH_MB} MB", f"{growth:+.1f} MB", growth <= MOST_GROWTH_MB
            )
        )
    return judged


# ─── results ─────────────────────────────────────────────────────────────────────────────────────────


def table(minutes: Sequence[Minute]) -> list[str]:
    """A line a minute."""
    titles = f"{'p50 ms':>9}{'p95':>8}{'p99':>8}{'slowest':>9}{'MB':>7}{'own MB':>8}"
    lines = [f"{'minute':>6}{'requests':>10}{'errors':>8}{titles}"]
    for number, minute in enumerate(minutes, start=1):
        lines.append(
            f"{number:6}{minute.requests:10,}{minute.errors:8}{minute.p50:9.1f}{minute.p95:8.1f}"
            f"{minute.p99:8.1f}{minute.slowest:9.0f}{_whole(minute.resident):>7}{_whole(minute.own):>8}"
        )
    return lines


def _whole(megabytes: float | None) -> str:
    return "–" if megabytes is None else f"{megabytes:.0f}"


def draw(minutes: Sequence[Minute], file: Path) -> None:
    """The times above, the memory below, over the minutes."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    times, memory = figure.subplots(2, 1, sharex=True)
    numbers = range(1, len(minutes) + 1)
    for name, colour in (("p50", "#1f6f5c"), ("p95", "#c9b18a"), ("p99", "#a04030")):
        times.plot(numbers, [getattr(minute, name) for minute in minutes], color=colour, label=name)
    times.set(ylabel="time of a request, ms", ylim=(0, None))
    for name, label, colour in (
        ("resident", "resident", "#888888"),
        ("own", "mapped from no file", "#1f6f5c"),
    ):
        values = [getattr(minute, name) for minute in minutes]
        if None not in values:
            memory.plot(numbers, values, color=colour, label=label)
    memory.set(ylabel="memory, MB", ylim=(0, None), xlabel="minute")
    for axes in (times, memory):
        axes.legend(frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)


def report(minutes: Sequence[Minute], setting: dict[str, Any], judged: Sequence[Verdict]) -> str:
    """Write the three result files; return the text."""
    lines = [setting["command"], f"{setting['hardware']}, Python {platform.python_version()}"]
    found = setting["capacity"] and f"{setting['capacity']:.0f} req/s were found with eight clients, "
    lines += [f"{setting['model']}: {found or ''}{setting['rate']:.1f} req/s for {len(minutes)} minutes", ""]
    lines += [*table(minutes), ""]
    lines += [f"{'met   ' if each.met else 'MISSED'}  {each.target}: {each.found}" for each in judged]
    text = "\n".join(lines) + "\n"
    RESULTS.with_suffix(".txt").write_text(text, encoding="utf-8")
    content = setting | {
        "verdicts": [asdict(each) for each in judged],
        "minutes": [asdict(minute) | {"processes": len(minute.processes)} for minute in minutes],
    }
    RESULTS.with_suffix(".json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    draw(minutes, RESULTS.with_suffix(".png"))
    return text


# ─── the run ─────────────────────────────────────────────────────────────────────────────────────────


def endpoint(url: str) -> Server:
    """An endpoint that runs already."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise SystemExit(f"sustained_load.py: --url is {url!r}; it must be like http://127.0.0.1:8080")
    return Server("endpoint", [], {}, parts.port or 80, host=parts.hostname)


def progress(minutes: int) -> tuple[Progress, Callable[[Minute], None]]:
    """A bar on a terminal, nothing elsewhere, and what moves it."""
    bar = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty())
    task = bar.add_task("loading", total=minutes)

    def tell(minute: Minute) -> None:
        found = f"p50 {minute.p50:.0f} ms, p99 {minute.p99:.0f} ms, {_whole(minute.resident)} MB"
        bar.update(task, advance=1, description=f"{found}, {minute.errors} errors")

    return bar, tell


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path, help="a job's folder [ResNet50 with random weights]")
    which.add_argument("--url", help="an endpoint that runs already")
    parser.add_argument("--minutes", type=int, default=60, help="how long [60]")
    parser.add_argument("--rate", type=float, help="requests a second [80 %% of the capacity]")
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache/dog-breeds", help="for the random weights"
    )
    return parser.parse_args()


def load(server: Server, arguments: argparse.Namespace) -> tuple[list[Minute], dict[str, float | None]]:
    """Find the capacity, unless a rate is given, and load the server."""
    try:
        most = None if arguments.rate else capacity(server, seconds=10)
    except OSError as error:
        where = arguments.url or "the server"
        raise SystemExit(f"sustained_load.py: {where} does not answer: {error}") from error
    rate = arguments.rate or SHARE * (most or 0)
    bar, tell = progress(arguments.minutes)
    with bar:
        minutes = minutes_of_load(server, rate=rate, count=arguments.minutes, tell=tell)
    return minutes, {"capacity": most, "rate": rate}


@contextlib.contextmanager
def running(server: Server, folder: Path) -> Iterator[Server]:
    """Start a server of one's own and stop it as the platform does; one that runs already is left alone."""
    if server.command:
        server.start(folder)
    try:
        yield server
    finally:
        if server.process:
            server.process.terminate()
            server.process.wait(timeout=60)


def describe(model: Path | None, url: str | None) -> dict[str, Any]:
    """What is loaded, and where."""
    if model:
        artifact = json.loads((model / "model/artifact.json").read_text())
        names = "+".join(each["name"] for each in artifact["backbones"])
        precision = artifact.get("precision", {}).get("chosen", "f32")
        loaded = f"{names}, {len(artifact['classes'])} classes, {precision}"
    return {
        "command": shlex.join(["python", "benchmarks/sustained_load.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": processor(),
        "versions": {name: version(name) for name in ("multi-model-server", "openvino", "pillow")},
        "model": loaded if model else url,
    }


def main() -> int:
    """Load, write, and say what came out."""
    arguments = parse()
    model = arguments.model or (None if arguments.url else make_model(arguments.cache / "resnet50"))
    server = ours(model.resolve()) if model else endpoint(arguments.url)
    scratch = tempfile.TemporaryDirectory(prefix="sustained-", ignore_cleanup_errors=True)
    with scratch as folder, running(server, Path(folder)):
        minutes, rates = load(server, arguments)
    judged = verdicts(minutes)
    print(report(minutes, describe(model, arguments.url) | rates, judged), end="")
    return int(not all(each.met for each in judged))


if __name__ == "__main__":
    sys.exit(main())
