#!/usr/bin/env python3
"""How far three ways to the same model are apart: the endpoint, `predict`, and the PyTorch model.

  python benchmarks/agreement.py --data ../dogs --job runs/latest --backend docker

Asks about every picture of the test split that the job answered, and compares probabilities. Where the
artifact also has an int8 network, it compares how often that and the full one are right. Writes the result
with the command and the hardware to benchmarks/results/. Exit code 1 when a difference is above its bound.
tests/container does the same with the drawn set.
"""

import argparse
import csv
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from launcher import arguments as command
from launcher import backends, command_line, endpoint_requests
from launcher.endpoint import EndpointClient
from launcher.errors import SettingsError
from launcher.requests import SERVING_IMAGE

ROOT = Path(__file__).resolve().parents[1]
BOUNDS = {("endpoint", "predict"): 1e-4, ("endpoint", "PyTorch"): 1e-3, ("predict", "PyTorch"): 1e-3}
LARGEST_DROP = 0.005  # of the accuracy, from the full network to int8
FULL = "f32"  # what is compared with PyTorch; int8 answers otherwise, as export has measured
PRECISION = "PREDICTOR_PRECISION"
Answers = dict[str, dict[str, float]]  # picture → class → probability


def from_pytorch(job: Path) -> Answers:
    """Return what the trained model answered at the end of its job."""
    artifact = json.loads((job / "model/artifact.json").read_text(encoding="utf-8"))
    names = [entry["name"] for entry in artifact["classes"]]
    probabilities = np.load(job / "output/data/test_probabilities.npy", allow_pickle=False)
    with (job / "output/data/test_predictions.csv").open(encoding="utf-8") as file:
        files = [row["file"] for row in csv.DictReader(file)]
    return {
        file: dict(zip(names, map(float, row), strict=True))
        for file, row in zip(files, probabilities, strict=True)
    }


def from_endpoint(backend: backends.Backend, job: Path, data: Path, files: Iterable[str]) -> Answers:
    """Ask an endpoint that serves the job's model."""
    files = list(files)
    requests = endpoint_requests.on_this_machine(SERVING_IMAGE, job / "output/model.tar.gz")
    requests[0]["PrimaryContainer"].setdefault("Environment", {})[PRECISION] = FULL
    with (
        backend.deploy(*requests, port=0, on_line=lambda _: None) as running,
        EndpointClient.connect(running.url) as client,
    ):
        replies = client.predict_all([data / file for file in files], clients=4)
        answered = command_line.progress(replies, total=len(files), what="asking the endpoint")
        return {
            file: {each.name: each.probability for each in reply[0].top}
            for file, reply in zip(files, answered, strict=True)
        }


def from_predict(backend: str, job: Path, data: Path, precision: str) -> Answers:
    """Run `predict` over the test split, in a container without a network or as a process."""
    if backend == "docker":
        volumes = ["-v", f"{data}:{data}:ro", "-v", f"{job / 'model'}:/opt/ml/model:ro"]
        chosen = f"--env={PRECISION}={precision}"
        program = ["docker", "run", "--rm", "--network=none", chosen, *volumes, SERVING_IMAGE, "predict"]
    else:
        program = [
            sys.executable,
            str(ROOT / "container_serve/predict.py"),
            "--model-dir",
            str(job / "model"),
        ]
    printed = subprocess.run(
        [*program, str(data / "test"), "--format", "json"],
        env={**os.environ, PRECISION: precision},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return {
        Path(entry["file"]).relative_to(data).as_posix(): {
            each["name"]: each["probability"] for each in entry["top"]
        }
        for entry in json.loads(printed)
        if "error" not in entry
    }


def largest_difference(some: Answers, reference: Answers) -> float:
    """Return the largest difference of a probability, over the classes that `some` names for a picture.

    A class that `reference` does not name is at most as probable as the last one that it does.
    """
    if some.keys() != reference.keys():
        raise SystemExit(f"error: {len(some)} pictures were answered by one, {len(reference)} by the other")
    differences = []
    for file, top in some.items():
        named = reference[file]
        for name, probability in top.items():
            if name in named:
                differences.append(abs(probability - named[name]))
            else:
                differences.append(max(0.0, probability - min(named.values())))
    return max(differences)


def accuracy(answers: Answers) -> float:
    """Return how often the most probable class is that of the picture's folder."""
    right = [max(top, key=lambda name: top[name]) == Path(file).parent.name for file, top in answers.items()]
    return sum(right) / len(right)


def processor() -> str:
    """Return the processor's name and the number of cores that may be used."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def write_result(
    differences: Mapping[tuple[str, str], float], right: Mapping[str, float], pictures: int, arguments: Any
) -> Path:
    """Write what was found with what produced it; one file for each data set and backend."""
    target = ROOT / f"benchmarks/results/agreement-{arguments.data.name}-{arguments.backend}.json"
    target.parent.mkdir(exist_ok=True)
    result = {
        "command": shlex.join(["python", "benchmarks/agreement.py", *sys.argv[1:]]),
        "hardware": processor(),
        "pictures": pictures,
        "largest difference of a probability": {
            f"{one} and {other}": float(f"{value:.3g}") for (one, other), value in differences.items()
        },
        "accuracy of predict": {precision: round(share, 4) for precision, share in right.items()},
    }
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return target


def main() -> int:
    """Compare, print, write; returns the exit code."""
    parser = command.parser(__doc__)
    command.add_backend(parser)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("DATA") or "data/drawn"), help="has test/"
    )
    parser.add_argument("--job", type=Path, default=Path("runs/latest"), help="the training job's folder")
    arguments: argparse.Namespace = parser.parse_args()
    backend = backends.choose(arguments.backend, command_line.tell)
    arguments.backend = backend.name
    job, data = arguments.job.resolve(), arguments.data.resolve()
    if not (job / "output/data/test_predictions.csv").is_file():
        raise SettingsError(f"{job} is no finished training job: make train DATA={arguments.data}")
    pytorch = from_pytorch(job)
    answers = {
        "PyTorch": pytorch,
        "endpoint": from_endpoint(backend, job, data, pytorch),
        "predict": from_predict(backend.name, job, data, FULL),
    }
    differences = {pair: largest_difference(answers[pair[0]], answers[pair[1]]) for pair in BOUNDS}
    for (one, other), value in differences.items():
        print(
            f"{one} and {other}: at most {value:.2g} apart in probability (bound {BOUNDS[one, other]:g}),"
            f" {len(pytorch)} pictures"
        )
    right = {FULL: accuracy(answers["predict"])}
    if "int8" in json.loads((job / "model/artifact.json").read_text(encoding="utf-8"))["engines"]:
        right["int8"] = accuracy(from_predict(backend.name, job, data, "int8"))
    for precision, share in right.items():
        print(f"{precision}: {share:.2%} of {len(pytorch)} pictures are named rightly")
    print(f"written to {write_result(differences, right, len(pytorch), arguments).relative_to(ROOT)}")
    apart = any(value > BOUNDS[pair] for pair, value in differences.items())
    return int(apart or right[FULL] - min(right.values()) > LARGEST_DROP)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
