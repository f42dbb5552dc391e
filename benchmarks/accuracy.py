#!/usr/bin/env python3
"""What each recipe reaches on photographs of dogs: the exact commands, and what came of them.

  python benchmarks/accuracy.py --data ../dogs            validation figures of every recipe
  python benchmarks/accuracy.py --data ../dogs --test     the test split, once, when the choice is made

Validation and test are separate steps. The first runs hpo.py, which never opens test/: recipes are chosen by
its figures alone. The second runs train_model.py, and reads what it reports from artifact.json. Every recipe
starts from process start in fresh folders, with no features computed before, unless --cache names a folder of
them. Recipes that need a GPU, or weights that cannot be had, are skipped, and the result says why.

Writes benchmarks/results/accuracy-<valid|test>.json and the same as a table, .md. Recipes that were not run
keep what was measured before, so that another machine can add its own. Exit code 1 when a recipe failed.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agreement import ROOT, processor

from launcher import command_line
from launcher.errors import WorkFailed

RESULTS = ROOT / "benchmarks/results"
LITES = "efficientnet_lite0,efficientnet_lite1,efficientnet_lite2"

NOTE = (
    "The photographs are from ImageNet, and probably from the very part that the backbones were trained on;"
    " each head starts from the rows of ImageNet's own classifier. The figures compare recipes with each"
    " other; they promise nothing about photographs of dogs from elsewhere."
)
# The line that ends the extraction of a split.
EXTRACTED = re.compile(r"^features of [^:]+: (?P<pictures>[\d,]+) pictures, (?P<rate>[1-9]\d*) img/s$")


@dataclass(frozen=True)
class Recipe:
    """The arguments of train_model.py and hpo.py, without the folders."""

    arguments: str
    needs_gpu: bool = False

    @property
    def backbones(self) -> list[str]:
        """The names after --backbone."""
        words = self.arguments.split()
        return words[words.index("--backbone") + 1].split(",")


RECIPES = {
    "lite0": Recipe("--backbone efficientnet_lite0 --resize 256 --crop 256"),
    "lite1": Recipe("--backbone efficientnet_lite1 --resize 256 --crop 256"),
    "lite2": Recipe("--backbone efficientnet_lite2 --resize 256 --crop 256"),
    "ensemble": Recipe(f"--backbone {LITES} --resize 256 --crop 256"),
    "ensemble-224": Recipe(f"--backbone {LITES}"),
    "resnet50": Recipe("--backbone resnet50"),
    "lite2-unfrozen": Recipe(
        "--backbone efficientnet_lite2 --resize 256 --crop 256 --unfreeze all --epochs 10"
        " --warmup 0.1 --label-smoothing 0.1 --weight-decay 0.0001 --clip-gradients 1",
        needs_gpu=True,
    ),
    "resnet50-unfrozen": Recipe(
        "--backbone resnet50 --unfreeze all --epochs 10"
        " --warmup 0.1 --label-smoothing 0.1 --weight-decay 0.0001 --clip-gradients 1",
        needs_gpu=True,
    ),
}


@dataclass(frozen=True)
class Extraction:
    """Pictures whose features were computed, and how many a second; none where a cache had them."""

    pictures: int
    images_per_second: int | None

    @classmethod
    def from_log(cls, lines: Iterable[str]) -> "Extraction":
        """All extractions of a run together: of each backbone and split."""
        found = [match for line in lines if (match := EXTRACTED.match(line))]
        counts = [int(match["pictures"].replace(",", "")) for match in found]
        seconds = sum(count / int(match["rate"]) for count, match in zip(counts, found, strict=True))
        return cls(sum(counts), round(sum(counts) / seconds) if found else None)


def what_is_missing(recipe: Recipe) -> str | None:
    """Return why a recipe cannot be run on this machine, or `None`."""
    import torch  # noqa: PLC0415 - seconds, which --help should not take

    from trainer.backbones import find_backbone  # noqa: PLC0415
    from trainer.failures import WeightsError  # noqa: PLC0415
    from trainer.locations import Locations  # noqa: PLC0415
    from trainer.weights import find_weights, image_weights_folder  # noqa: PLC0415

    if recipe.needs_gpu and not torch.cuda.is_available():
        return "trains the whole network, for which this machine has no GPU"
    channel = Locations.from_environment(os.environ).pretrained
    for name in recipe.backbones:
        try:
            find_weights(find_backbone(name), "auto", channel=channel, image=image_weights_folder())
        except WeightsError as error:
            command_line.tell(str(error))
            return f"no pretrained weights for {name} on this machine"
    return None


def measure(name: str, data: Path, cache: Path | None, *, test: bool) -> dict[str, Any]:
    """Run one recipe in fresh folders and return its row; raises `WorkFailed`."""
    script = "train_model.py" if test else "hpo.py"
    program = [f"container_train/{script}", "--data", str(data), *RECIPES[name].arguments.split()]
    with TemporaryDirectory(prefix="accuracy-") as temporary:
        folder = Path(temporary)
        options = [f"--cache={(cache or folder / 'cache').resolve()}"]
        for each in ("checkpoints", "model-dir", "output-data-dir"):
            (folder / each).mkdir()
            options.append(f"--{each}={folder / each}")
        started = time.monotonic()
        lines = run([str(ROOT / program[0]), *program[1:], *options])
        seconds = time.monotonic() - started
        figures = test_figures(folder) if test else validation_figures(folder)
    extraction = Extraction.from_log(lines)
    return {
        "command": shlex.join(["python", *program]),
        "hardware": hardware(),
        **{key: round(value, 4) for key, value in figures.items()},
        "pictures extracted": extraction.pictures,
        "extracted per second": extraction.images_per_second,
        "seconds": round(seconds, 1),
    }


def run(program: Sequence[str]) -> list[str]:
    """Run a training program, show its log, and return it; raises `WorkFailed` with its last line."""
    lines = []
    command = [sys.executable, *program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                command_line.tell(f"  {lines[-1]}")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise WorkFailed(lines[-1] if lines else f"{program[0]} ended with {process.returncode}")
    return lines


def validation_figures(folder: Path) -> dict[str, float]:
    """What hpo.py left."""
    metrics = json.loads((folder / "output-data-dir/result.json").read_text(encoding="utf-8"))["metrics"]
    return {
        "validation accuracy": metrics["validation:accuracy"],
        "validation loss": metrics["validation:loss"],
    }


def test_figures(folder: Path) -> dict[str, float]:
    """What train_model.py left."""
    artifact = json.loads((folder / "model-dir/artifact.json").read_text(encoding="utf-8"))
    card = artifact["report_card"]
    return {
        "validation accuracy": artifact["metrics"]["validation:accuracy"],
        "test accuracy": card["accuracy"],
        "test accuracy, low": card["accuracy_interval"]["low"],
        "test accuracy, high": card["accuracy_interval"]["high"],
        "test pictures": card["pictures"],
        "top-5": card["top5"],
        "calibration error before": card["calibration_error_before"],
        "calibration error": card["expected_calibration_error"],
        "temperature": card["temperature"],
    }


def hardware() -> str:
    """Return the processor and, where there is one, the GPU."""
    import torch  # noqa: PLC0415 - seconds

    graphics = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([processor(), *graphics])


def table(rows: dict[str, dict[str, Any]], *, test: bool) -> str:
    """Return a Markdown table of the rows, and the commands and the skipped recipes below it."""
    of_test = ["test accuracy (95 % interval)", "top-5", "calibration error: before → after"]
    heads = ["recipe", "validation accuracy", *(of_test if test else ["validation loss"])]
    heads += ["extraction, img/s", "seconds"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    measured = {name: row for name, row in rows.items() if "seconds" in row}
    lines += [f"| {' | '.join(cells(name, row, test=test))} |" for name, row in measured.items()]
    lines += ["", NOTE, ""]
    if not test:
        lines += ["The loss of one backbone is that before its temperature, of several that after it.", ""]
    lines += [f"- {name}: `{row['command']}` ({row['hardware']})" for name, row in measured.items()]
    lines += [f"- {name}: {row['not run']}" for name, row in rows.items() if "not run" in row]
    return "\n".join(lines) + "\n"


def cells(name: str, row: dict[str, Any], *, test: bool) -> list[str]:
    """Return one row of the table."""
    result = [name, f"{row['validation accuracy']:.1%}"]
    if test:
        interval = f"{row['test accuracy, low']:.1%} to {row['test accuracy, high']:.1%}"
        result += [f"{row['test accuracy']:.1%} ({interval})", f"{row['top-5']:.1%}"]
        result += [f"{row['calibration error before']:.1%} → {row['calibration error']:.1%}"]
    else:
        result += [f"{row['validation loss']:.3f}"]
    rate = row["extracted per second"]
    return [*result, "from the cache" if rate is None else f"{rate:.0f}", f"{row['seconds']:.0f}"]


def measured_before(target: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of an earlier run, of recipes that still have the same arguments."""
    if not target.is_file():
        return {}
    rows: dict[str, dict[str, Any]] = json.loads(target.read_text(encoding="utf-8"))["recipes"]
    return {
        name: row
        for name, row in rows.items()
        if name in RECIPES and ("not run" in row or row["command"].endswith(f" {RECIPES[name].arguments}"))
    }


def write_result(target: Path, rows: dict[str, dict[str, Any]], *, test: bool) -> str:
    """Write the rows as JSON and as a table; return the table."""
    command = shlex.join(["python", "benchmarks/accuracy.py", *sys.argv[1:]])
    result = {"command": command, "note": NOTE, "recipes": rows}
    text = table(rows, test=test)
    RESULTS.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def read_arguments() -> argparse.Namespace:
    """Parse the command line; a recipe that is not in the table ends the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="has train/, valid/ and test/")
    parser.add_argument("--test", action="store_true", help="report the test split")
    parser.add_argument("--cache", type=Path, help="folder of features to use and to add to")
    known = ", ".join(RECIPES)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"one of {known}; all if none is named")
    arguments = parser.parse_args()
    if strangers := [name for name in arguments.recipes if name not in RECIPES]:
        parser.error(f"unknown recipe {strangers[0]!r}: the known ones are {known}")
    return arguments


def main() -> int:
    """Measure, print, write; returns the exit code."""
    arguments = read_arguments()
    target = RESULTS / f"accuracy-{'test' if arguments.test else 'valid'}.json"
    rows = measured_before(target)
    failed = []
    for name in arguments.recipes or RECIPES:
        command_line.tell(f"{name}: {RECIPES[name].arguments}")
        if (reason := what_is_missing(RECIPES[name])) is not None:
            if "command" not in rows.get(name, {}):
                rows[name] = {"not run": reason}
            continue
        try:
            rows[name] = measure(name, arguments.data, arguments.cache, test=arguments.test)
        except WorkFailed as error:
            failed.append(f"{name}: {error}")
    rows = {name: rows[name] for name in RECIPES if name in rows}
    print(write_result(target, rows, test=arguments.test), end="")
    if failed:
        raise WorkFailed("; ".join(failed))
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
