#!/usr/bin/env python3
"""What it costs to bring a picture before the network, and whether cheaper ways change the answers.

  python benchmarks/decoding.py --job runs/latest --data ../dogs

The plain way is Pillow's whole picture and torchvision's `Resize` and `CenterCrop`; ours is
`predictor.images.load_view`. Times are medians, of the two in turn, of a JPEG of 500 × 375 and of one of 12
megapixels. Answers are those of the job's model for every picture of the validation split: as it is and
enlarged ten times, so that JPEGs are decoded at half their size. Writes
benchmarks/results/decoding.{json,txt} with the command and the hardware.
"""

import argparse
import io
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision import transforms
from tqdm import tqdm

from predictor.artifact import Preprocessing, read_artifact
from predictor.engine import Engine
from predictor.images import load_view

RESULTS = Path(__file__).resolve().parent / "results/decoding"
SIZES = {"500 × 375": (500, 375), "4,000 × 3,000": (4000, 3000)}
TIMES = {"500 × 375": 300, "4,000 × 3,000": 25}
ENLARGED = 10


def plain_way(body: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """Decode, resize and crop as everybody does: uint8 (S, S, 3)."""
    reference = transforms.Compose(
        [transforms.Resize(preprocessing.resize), transforms.CenterCrop(preprocessing.crop)]
    )
    return np.asarray(reference(Image.open(io.BytesIO(body)).convert("RGB")))


def our_way(body: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """The same by the serving side."""
    return load_view(io.BytesIO(body), preprocessing).pixels


WAYS: dict[str, Callable[[bytes, Preprocessing], np.ndarray]] = {"plain": plain_way, "ours": our_way}


def as_jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """The image as a JPEG file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def scene(size: tuple[int, int]) -> Image.Image:
    """Blurred noise of a given size."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def time_both(preprocessing: Preprocessing) -> dict[str, dict[str, float]]:
    """Milliseconds of each way, by the picture's size, and the ratio of plain to ours."""
    found = {}
    for name, size in SIZES.items():
        body = as_jpeg(scene(size))
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(TIMES[name]):
            for way, run in WAYS.items():
                began = time.perf_counter()
                run(body, preprocessing)
                times[way].append(1000 * (time.perf_counter() - began))
        found[name] = {way: statistics.median(each) for way, each in times.items()}
        ratios = [plain / ours for plain, ours in zip(times["plain"], times["ours"], strict=True)]
        found[name]["ratio"] = statistics.median(ratios)
    return found


def validation(data: Path) -> list[tuple[Path, str]]:
    """Every picture of the validation split with its breed."""
    return [(file, file.parent.name) for file in sorted((data / "valid").glob("*/*")) if file.is_file()]


def versions(file: Path) -> Iterator[tuple[str, bytes]]:
    """The file's bytes as they are, and of the picture enlarged."""
    yield "as they are", file.read_bytes()
    image = Image.open(file).convert("RGB")
    size = (ENLARGED * image.width, ENLARGED * image.height)
    yield f"enlarged {ENLARGED} times", as_jpeg(image.resize(size, Image.Resampling.BICUBIC))


def compare_answers(job: Path, data: Path) -> dict[str, dict[str, float]]:
    """Accuracy of both ways and how often they agree, by version of the pictures and precision."""
    artifact = read_artifact(job / "model")
    names = [breed.name for breed in artifact.classes]
    engines = {each: Engine(artifact, threads=1, precision=each) for each in artifact.engines}
    right: dict[str, list[tuple[bool, bool, bool]]] = {}
    for file, breed in tqdm(validation(data), disable=None, unit="picture"):
        for version, body in versions(file):
            views = [way(body, artifact.preprocessing) for way in WAYS.values()]
            for precision, engine in engines.items():
                plain, ours = (names[place] for place in engine.infer(views).argmax(axis=1))
                row = (plain == breed, ours == breed, plain == ours)
                right.setdefault(f"{version}, {precision}", []).append(row)
    return {
        key: dict(zip(("plain", "ours", "agree"), np.mean(rows, axis=0).tolist(), strict=True))
        for key, rows in right.items()
    }


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The result as text."""
    yield result["command"]
    yield result["hardware"]
    yield ""
    yield f"{'JPEG, ms':28}{'plain':>9}{'ours':>9}{'ratio':>9}"
    for name, row in result["times"].items():
        yield f"{name:28}{row['plain']:9.2f}{row['ours']:9.2f}{row['ratio']:9.2f}"
    yield ""
    yield f"{result['pictures']} validation pictures"
    yield f"{'':28}{'plain':>9}{'ours':>9}{'agree':>9}"
    for name, row in result["answers"].items():
        yield f"{name:28}{row['plain']:9.2%}{row['ours']:9.2%}{row['agree']:9.2%}"


def hardware() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> None:
    """Measure, write, show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--job", type=Path, default=Path("runs/latest"), help="whose model answers")
    parser.add_argument("--data", type=Path, required=True, help="folder with valid/, one sub-folder a breed")
    arguments = parser.parse_args()
    artifact = read_artifact(arguments.job / "model")
    result: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/decoding.py", *sys.argv[1:]]),
        "hardware": hardware(),
        "times": time_both(artifact.preprocessing),
        "pictures": len(validation(arguments.data)),
        "answers": compare_answers(arguments.job, arguments.data),
    }
    text = "\n".join(lines(result)) + "\n"
    RESULTS.with_suffix(".txt").write_text(text, encoding="utf-8")
    RESULTS.with_suffix(".json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(text, end="")


if __name__ == "__main__":
    main()
