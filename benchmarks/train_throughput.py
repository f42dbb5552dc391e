#!/usr/bin/env python3
"""How fast the trainer computes features and trains, what of that its loader costs, and what others reach.

  python benchmarks/train_throughput.py --backbone efficientnet_lite0 --data ../dogs

Four kinds of work, each measured in turn with photographs, with synthetic pictures that lie on the device
already, and with torchvision's reference loop written the ordinary way (ImageFolder, Pillow, float32, NCHW):
loading alone, extraction of features, training of the head without the cache, training of all layers. Rounds
are interleaved; a figure is the median of its rounds, a ratio the median of the rounds' ratios. Weights are
random numbers, which cost the same. Photographs come from the system's file cache, as in all epochs but the
first. Writes benchmarks/results/train-throughput-<backbone>-<device>.json, and the table beside it.

Without an installation: PYTHONPATH=container_train python3 benchmarks/train_throughput.py …
"""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trainer.backbones import Backbone, Classifier, Unfreeze, build_classifier, find_backbone
from trainer.config import BACKBONES, Hyperparameters
from trainer.cpus import cpu_limit
from trainer.data import RobustImageFolder
from trainer.engine import fit
from trainer.extraction import Extractor, gpu_extractor, processor_extractor
from trainer.job import open_machine
from trainer.loading import Batch, ImageBatches, Request, Source, in_order, normalise
from trainer.locations import Locations
from trainer.machine import Machine
from trainer.termination import Stop
from trainer.views import CENTRE, Pixels, Preprocessing, Views

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPHS, SYNTHETIC, REFERENCE = "photographs", "synthetic", "torchvision"
LOADING, EXTRACTION, FROZEN, UNFROZEN = "loading alone", "extraction", "frozen training", "unfrozen training"
_GPU_EXTRACTION_BATCH = 256  # what `gpu_extractor` takes
_REFERENCE_WORKERS = 16  # torchvision's own default


@dataclass(frozen=True)
class Measured:
    """One run: what it did, how long it took, and how much of that it waited for data (`None`: unknown)."""

    pictures: int
    seconds: float
    waited: float | None = None
    waited_first: float | None = None  # of `waited`: for the first batch, once in each epoch

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return self.pictures / self.seconds


Variant = Callable[[int], Measured]  # the number of pictures → a run


@dataclass(frozen=True)
class Bench:
    """What all kinds of work share; `folder` is the training split in a random order."""

    folder: RobustImageFolder
    views: Views
    backbone: Backbone
    settings: Hyperparameters
    machine: Machine

    @property
    def batch_size(self) -> int:
        return self.settings.batch_size

    @property
    def side(self) -> int:
        return self.views.size.crop

    def network(self) -> Classifier:
        """The backbone with random weights and a head for the folder's classes."""
        return build_classifier(self.backbone, None, classes=len(self.folder.classes), seed=0)

    def indices(self, pictures: int) -> list[int]:
        """As many pictures as asked for, over and over where there are fewer."""
        return [place % len(self.folder) for place in range(pictures)]


class Stopwatch:
    """The time that a loop over batches takes until the device is done, and of it the wait for batches."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self.waits: list[float] = []

    def over(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The same batches, timed."""
        begun = asked = time.perf_counter()
        iterator = iter(batches)
        while True:
            batch = next(iterator, None)
            self.waits.append(time.perf_counter() - asked)
            if batch is None:
                break
            yield batch
            asked = time.perf_counter()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds = time.perf_counter() - begun

    def measured(self, pictures: int) -> Measured:
        """What the loop showed."""
        return Measured(pictures, self.seconds, sum(self.waits), self.waits[0])


class Timed:
    """A source as an epoch of `pictures`, timed while training draws from it."""

    def __init__(self, source: Source, pictures: int, stopwatch: Stopwatch) -> None:
        self.source, self.pictures, self.stopwatch = source, pictures, stopwatch

    def __len__(self) -> int:
        return self.pictures

    def load(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """The requested batches; pictures come again where there are fewer."""
        known = len(self.source)
        wrapped = ([(sample % known, view) for sample, view in request] for request in requests)
        return self.stopwatch.over(self.source.load(wrapped))

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        """What the source does."""
        return self.source.prepare(inputs, device)


class Synthetic:
    """Random pixels that lie on the device before training begins."""

    def __init__(self, bench: Bench, size: int, device: torch.device) -> None:
        self.pixels = random_pixels(size, bench.side).to(device)
        self.targets = torch.randint(len(bench.folder.classes), (size,)).to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """The first pictures of each request, whichever it asks for."""
        for request in requests:
            yield self.pixels[: len(request)], self.targets[: len(request)]

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        """Normalised, which real pictures are on the device as well."""
        return normalise(inputs.to(device))


def random_pixels(size: int, side: int) -> Tensor:
    """Pixels (size, side, side, 3) uint8."""
    return torch.randint(256, (size, side, side, 3), dtype=torch.uint8)


# ── the trainer ───────────────────────────────────────────────────────────────────────────────────────


def trainings(bench: Bench, photographs: Source, unfreeze: Unfreeze) -> dict[str, Variant]:
    """An epoch of the engine, as the job calls it."""
    device = bench.machine.device
    model = bench.network()
    model.unfreeze(unfreeze)
    model.to(device).to(memory_format=torch.channels_last)
    settings = Hyperparameters(**{**vars(bench.settings), "unfreeze": unfreeze})

    def over(source: Source) -> Variant:
        def run(pictures: int) -> Measured:
            stopwatch = Stopwatch(device)
            with TemporaryDirectory() as checkpoints:
                fit(
                    model,
                    Timed(source, pictures, stopwatch),
                    Synthetic(bench, 1, torch.device("cpu")),  # nearly no validation
                    settings,
                    bench.machine,
                    checkpoints=Path(checkpoints),
                    report=lambda metrics, epoch: None,
                )
            return stopwatch.measured(pictures)

        return run

    ready = Synthetic(bench, bench.batch_size, device)
    return {PHOTOGRAPHS: over(photographs), SYNTHETIC: over(ready)}


def extractions(bench: Bench) -> dict[str, Variant]:
    """The extractor that the job builds for this device."""
    device, precision = bench.machine.device, bench.machine.precision
    if device.type == "cuda":
        model = bench.network()
        extract = gpu_extractor(
            model, bench.views, device=device, precision=precision, workers=bench.settings.workers
        )
        return {PHOTOGRAPHS: extraction(extract, bench, bench.folder), SYNTHETIC: gpu_ready(model, bench)}
    ready = ReadyViews(bench.views.size, bench.views.min_area, random_pixels(1, bench.side)[0].numpy())
    extractors = [
        processor_extractor(bench.network(), views, precision=precision, threads=cpu_limit())
        for views in (bench.views, ready)
    ]
    return {
        PHOTOGRAPHS: extraction(extractors[0], bench, bench.folder),
        SYNTHETIC: extraction(extractors[1], bench, NoFiles(len(bench.folder))),
    }


def extraction(extract: Extractor, bench: Bench, folder: RobustImageFolder) -> Variant:
    """All features of as many pictures."""

    def run(pictures: int) -> Measured:
        indices = bench.indices(pictures)
        begun = time.perf_counter()
        for _ in extract(folder, indices, CENTRE):
            pass
        return Measured(pictures, time.perf_counter() - begun)

    return run


class NoFiles(RobustImageFolder):
    """A folder whose pictures cost nothing to read."""

    def __init__(self, size: int) -> None:
        self.digests = [b""] * size
        self.picture = Image.new("RGB", (1, 1))

    def read(self, index: int) -> Image.Image:
        """The same picture for every index."""
        return self.picture


@dataclass(frozen=True)
class ReadyViews(Views):
    """Views that cost nothing to make."""

    ready: Pixels

    def pixels(self, image: Image.Image, *, digest: bytes, number: int) -> Pixels:
        """The same pixels for every picture."""
        return self.ready


def gpu_ready(model: Classifier, bench: Bench) -> Variant:
    """What `gpu_extractor` does with a batch once it is on the device."""
    machine = bench.machine
    pixels = random_pixels(_GPU_EXTRACTION_BATCH, bench.side).to(machine.device)

    def run(pictures: int) -> Measured:
        begun = time.perf_counter()
        for start in range(0, pictures, _GPU_EXTRACTION_BATCH):
            batch = pixels[: pictures - start]
            with torch.inference_mode(), machine.autocast():
                model.extract(normalise(batch)).float().cpu().numpy()
        return Measured(pictures, time.perf_counter() - begun)

    return run


def loading(bench: Bench, photographs: Source) -> Variant:
    """Decoding and batching, with nothing done to the batches."""

    def run(pictures: int) -> Measured:
        stopwatch = Stopwatch(torch.device("cpu"))
        timed = Timed(photographs, pictures, stopwatch)
        for _ in timed.load(in_order(pictures, batch_size=bench.batch_size)):
            pass
        return stopwatch.measured(pictures)

    return run


# ── torchvision's reference loop ──────────────────────────────────────────────────────────────────────


class ReferenceLoader:
    """ImageFolder, torchvision's transforms and a DataLoader, over the trainer's very pictures and crops."""

    def __init__(self, bench: Bench, *, random_crops: bool) -> None:
        from torchvision import transforms  # noqa: PLC0415 - after the trainer's own imports
        from torchvision.datasets import ImageFolder  # noqa: PLC0415

        size = bench.views.size
        area = (bench.views.min_area, 1.0)
        crops = (
            [transforms.RandomResizedCrop(size.crop, scale=area), transforms.RandomHorizontalFlip()]
            if random_crops
            else [transforms.Resize(size.resize), transforms.CenterCrop(size.crop)]
        )
        normal = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        dataset = ImageFolder(
            str(bench.folder.root), transforms.Compose([*crops, transforms.ToTensor(), normal])
        )
        dataset.samples = [(str(path), target) for path, target in bench.folder.samples]
        self.bench = bench
        self.order: list[int] = []
        workers = min(_REFERENCE_WORKERS, cpu_limit())
        self.loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=bench.batch_size,
            sampler=self.order,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=True,
        )

    def batches(self, pictures: int) -> DataLoader[Any]:
        """A loader of as many pictures."""
        self.order[:] = self.bench.indices(pictures)
        return self.loader


def reference_loading(loader: ReferenceLoader) -> Variant:
    """The reference's decoding and batching alone."""

    def run(pictures: int) -> Measured:
        stopwatch = Stopwatch(torch.device("cpu"))
        for _ in stopwatch.over(loader.batches(pictures)):
            pass
        return stopwatch.measured(pictures)

    return run


def reference_extraction(bench: Bench, loader: ReferenceLoader) -> Variant:
    """The backbone over a DataLoader, in float32."""
    device, network = bench.machine.device, bench.network()
    model = nn.Sequential(network.backbone, network.pool).to(device).eval()

    def run(pictures: int) -> Measured:
        stopwatch = Stopwatch(device)
        with torch_defaults(), torch.inference_mode():
            for images, _ in stopwatch.over(loader.batches(pictures)):
                model(images.to(device, non_blocking=True)).cpu()
        return stopwatch.measured(pictures)

    return run


def reference_training(bench: Bench, loader: ReferenceLoader, *, unfrozen: bool) -> Variant:
    """torchvision's `train_one_epoch`, in float32; frozen layers are those that require no gradient."""
    device, network = bench.machine.device, bench.network()
    network.backbone.requires_grad_(unfrozen)
    model = nn.Sequential(network.backbone, network.pool, network.head).to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=bench.settings.learning_rate, momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    def run(pictures: int) -> Measured:
        stopwatch = Stopwatch(device)
        with torch_defaults():
            for images, targets in stopwatch.over(loader.batches(pictures)):
                loss = criterion(
                    model(images.to(device, non_blocking=True)), targets.to(device, non_blocking=True)
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()  # its logger's
        return stopwatch.measured(pictures)

    return run


@contextmanager
def torch_defaults() -> Iterator[None]:
    """TF32 in convolutions, which torch has on and the trainer turns off, for the rival inside."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


# ── measuring ─────────────────────────────────────────────────────────────────────────────────────────


def works(bench: Bench) -> dict[str, dict[str, Variant]]:
    """All that is measured, by kind of work and variant."""
    photographs = ImageBatches(
        bench.folder, bench.views, workers=bench.settings.workers, batch_size=bench.batch_size
    )
    centre, random = (ReferenceLoader(bench, random_crops=crops) for crops in (False, True))
    return {
        LOADING: {PHOTOGRAPHS: loading(bench, photographs), REFERENCE: reference_loading(centre)},
        FROZEN: {
            **trainings(bench, photographs, "none"),
            REFERENCE: reference_training(bench, centre, unfrozen=False),
        },
        UNFROZEN: {
            **trainings(bench, photographs, "all"),
            REFERENCE: reference_training(bench, random, unfrozen=True),
        },
        EXTRACTION: {**extractions(bench), REFERENCE: reference_extraction(bench, centre)},
    }


def warmed_up(variant: Variant, *, batch: int, seconds: float) -> float:
    """Pictures per second once everything is compiled, from runs that grow until they mean something."""
    measured = variant(batch)
    if measured.seconds < 2 * seconds:  # else one is enough to know
        measured = variant(2 * batch)
    while measured.seconds < seconds / 4:
        measured = variant(8 * measured.pictures)
    return measured.rate


def measure(
    bench: Bench, *, rounds: int, seconds: float, console: Console
) -> dict[str, dict[str, list[Measured]]]:
    """Every variant of every kind of work in turn, `rounds` times about `seconds` each."""
    kinds = works(bench)
    found: dict[str, dict[str, list[Measured]]] = {
        kind: {name: [] for name in variants} for kind, variants in kinds.items()
    }
    runs = sum(map(len, kinds.values()))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("warming up", total=runs * (rounds + 1))
        rates = {}
        for kind, variants in kinds.items():
            for name, variant in variants.items():
                progress.update(task, description=f"warming up: {kind}, {name}")
                rates[kind, name] = warmed_up(variant, batch=bench.batch_size, seconds=seconds)
                progress.advance(task)
        for number in range(rounds):
            for kind, variants in kinds.items():
                turn = list(variants.items())
                for name, variant in turn[::-1] if number % 2 else turn:
                    progress.update(task, description=f"round {number + 1}: {kind}, {name}")
                    batches = max(2, round(rates[kind, name] * seconds / bench.batch_size))
                    found[kind][name].append(variant(batches * bench.batch_size))
                    progress.advance(task)
    return found


def ratio(runs: Mapping[str, Sequence[Measured]], one: str, other: str) -> float | None:
    """How many times as fast `one` is, in the median round."""
    if one not in runs or other not in runs:
        return None
    return statistics.median(
        some.rate / reference.rate for some, reference in zip(runs[one], runs[other], strict=True)
    )


def waiting(runs: Sequence[Measured]) -> float | None:
    """Share of the time in which training waited for data, in the median round."""
    shares = [run.waited / run.seconds for run in runs if run.waited is not None]
    return statistics.median(shares) if shares else None


def summary(runs: Mapping[str, Sequence[Measured]], loading_rate: float, *, shared: bool) -> dict[str, Any]:
    """One kind of work's figures; `shared` where decoding takes the cores that compute."""
    figures: dict[str, Any] = {
        name: {
            "images per second": significant(statistics.median(run.rate for run in measured)),
            "rounds": [significant(run.rate) for run in measured],
            "waiting for data": significant(waiting(measured)),
            "of it for the first batch": significant(
                statistics.median((run.waited_first or 0.0) / run.seconds for run in measured)
            ),
            "pictures a round": measured[-1].pictures,
        }
        for name, measured in runs.items()
    }
    figures["photographs / synthetic"] = significant(ratio(runs, PHOTOGRAPHS, SYNTHETIC))
    figures["photographs / torchvision"] = significant(ratio(runs, PHOTOGRAPHS, REFERENCE))
    if shared and SYNTHETIC in runs:
        ready = figures[SYNTHETIC]["images per second"]
        figures["possible / synthetic"] = significant(loading_rate / (loading_rate + ready))
    return figures


def significant(value: float | None) -> float | None:
    """Four digits."""
    return None if value is None else float(f"{value:.4g}")


# ── telling ───────────────────────────────────────────────────────────────────────────────────────────


def table(figures: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """The figures for a person."""
    made = Table(title=title, title_justify="left")
    made.add_column("img/s", no_wrap=True)
    columns = (SYNTHETIC, PHOTOGRAPHS, "of synthetic", REFERENCE, "times as fast", "waiting", "theirs")
    for column in columns:
        made.add_column(column, justify="right")
    for kind, values in figures.items():
        made.add_row(
            kind,
            *(
                _rate(values, SYNTHETIC),
                _rate(values, PHOTOGRAPHS),
                _shown(values["photographs / synthetic"], "{:.0%}"),
                _rate(values, REFERENCE),
                _shown(values["photographs / torchvision"], "{:.2f}"),
                _shown(None if kind == LOADING else values[PHOTOGRAPHS]["waiting for data"], "{:.1%}"),
                _shown(None if kind == LOADING else values[REFERENCE]["waiting for data"], "{:.1%}"),
            ),
        )
    return made


def _rate(values: Mapping[str, Any], name: str) -> str:
    rate = values[name]["images per second"] if name in values else None
    return _shown(rate, "{:,.0f}" if rate is not None and rate >= 100 else "{:.1f}")


def _shown(value: float | None, pattern: str) -> str:
    return "" if value is None else pattern.format(value)


def remarks(figures: Mapping[str, Mapping[str, Any]], *, shared: bool) -> Iterator[str]:
    """What the table does not say by itself."""
    yield (
        "An extractor reads by itself and does not tell how long it waits: its loader's cost is its distance "
        "from synthetic."
    )
    if not shared:
        return
    yield (
        "There is no other device: decoding takes time from the cores that compute, and no loader can hide "
        "it. With L img/s of loading alone and S of synthetic, L / (L + S) of synthetic is what remains:"
    )
    for kind, values in figures.items():
        if "possible / synthetic" in values:
            reached = values["photographs / synthetic"]
            yield f"  {kind}: {values['possible / synthetic']:.0%} possible, {reached:.0%} reached"


def hardware(device: torch.device) -> str:
    """The processor, the cores that may be used and the GPU, if it computes."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    processor = f"{next(names, platform.processor())}, {cpu_limit()} cores"
    return f"{torch.cuda.get_device_name(device)}; {processor}" if device.type == "cuda" else processor


def versions() -> dict[str, str]:
    """Of what computes and decodes."""
    found = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "openvino", "pillow", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # a machine with a GPU needs no OpenVINO
    return found


def median_size(folder: RobustImageFolder) -> dict[str, float]:
    """Of the first hundred photographs: what decoding costs depends on it."""
    files = [path for path, _ in folder.samples[:100]]
    sizes = [folder.read(place).size for place in range(len(files))]
    return {
        "pixels": statistics.median(width * height for width, height in sizes),
        "bytes": statistics.median(path.stat().st_size for path in files),
    }


def write_result(result: Mapping[str, Any], printed: str, *, backbone: str, device: torch.device) -> Path:
    """Write the figures and the table; one pair of files for each backbone and device."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    name = re.sub(r"[^a-z0-9_]+", "-", f"{backbone}-{kind}".lower())
    target = ROOT / f"benchmarks/results/train-throughput-{name}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    target.with_suffix(".txt").write_text(printed, encoding="utf-8")
    return target


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--backbone",
        default="efficientnet_lite0",
        help=f"{', '.join(BACKBONES)}, timm:NAME or torchvision:NAME (default: %(default)s)",
    )
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("DATA") or "data/drawn"), help="has train/"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of all variants (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="about what a variant takes in a round (default: 5)"
    )
    parser.add_argument("--batch-size", type=int, help="default: 16 on a processor, 256 on a GPU")
    parser.add_argument("--workers", type=int, default=-1, help="the trainer's hyperparameter")
    parser.add_argument("--compile", action="store_true", help="the trainer's hyperparameter")
    return parser.parse_args()


def open_bench(arguments: argparse.Namespace, machine: Machine, settings: Hyperparameters) -> Bench:
    """Check the pictures and put them into a random order, so that all classes and sizes are among few."""
    cache = Locations.from_environment(os.environ).cache
    folder = RobustImageFolder(arguments.data.resolve() / "train", cache=cache)
    order = np.random.default_rng(0).permutation(len(folder)).tolist()
    folder.files = [folder.files[place] for place in order]
    folder.targets = [folder.targets[place] for place in order]
    folder.digests = [folder.digests[place] for place in order]
    views = Views(Preprocessing(settings.resize, settings.crop), settings.min_crop_area)
    return Bench(folder, views, find_backbone(settings.backbone), settings, machine)


def main() -> int:
    """Measure, print, write."""
    arguments = read_arguments()
    console = Console(record=True, width=None if sys.stdout.isatty() else 110)
    settings = Hyperparameters(
        backbone=arguments.backbone,
        weights="none",
        feature_cache=False,
        epochs=1,
        batch_size=arguments.batch_size or (256 if torch.cuda.is_available() else 16),
        learning_rate=1e-9,  # a step costs the same, and random layers do not diverge
        workers=arguments.workers,
        compile=arguments.compile,
    )
    with open_machine(settings, Stop()) as machine:
        bench = open_bench(arguments, machine, settings)
        shared = machine.device.type == "cpu"
        found = measure(bench, rounds=arguments.rounds, seconds=arguments.seconds, console=console)
    rate = statistics.median(run.rate for run in found[LOADING][PHOTOGRAPHS])
    figures = {kind: summary(runs, rate, shared=shared) for kind, runs in found.items()}
    precision = str(machine.precision).removeprefix("torch.")
    where = hardware(machine.device)
    console.print(
        table(figures, f"{arguments.backbone}, batch {bench.batch_size}, ours in {precision}, on {where}")
    )
    for remark in remarks(figures, shared=shared):
        console.print(remark, highlight=False)
    result = {
        "command": shlex.join(["python", "benchmarks/train_throughput.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": where,
        "versions": versions(),
        "backbone": arguments.backbone,
        "weights": "random numbers",
        "precision": precision,
        "batch size": bench.batch_size,
        "photographs": {"number": len(bench.folder), "median size": median_size(bench.folder)},
        "rounds": arguments.rounds,
        "seconds a run": arguments.seconds,
        "figures": figures,
    }
    printed = console.export_text()
    target = write_result(result, printed, backbone=arguments.backbone, device=machine.device)
    print(f"written to {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
