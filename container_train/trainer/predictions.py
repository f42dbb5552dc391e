"""The model's answers for the test split, as files. Called by the job after the one test."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def write_predictions(
    folder: Path, *, logits: Tensor, targets: Tensor, files: Sequence[str], classes: Sequence[str]
) -> None:
    """Write `test_predictions.csv` and `test_probabilities.npy`, float32 (N, classes), rows alike.

    `logits` (N, classes) and `targets` (N) have their rows in the order of `files`, and the columns
    and class indices in that of `classes`. Probabilities are the logits' softmax.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probabilities = torch.softmax(logits.float(), dim=1)
    confidence, predicted = probabilities.max(dim=1)
    with (folder / "test_predictions.csv").open(
        "w", newline="", encoding="utf-8", errors="backslashreplace"
    ) as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "target", "predicted", "probability"])
        rows = zip(files, targets.tolist(), predicted.tolist(), confidence.tolist(), strict=True)
        writer.writerows(
            (file, classes[target], classes[guess], f"{probability:.6f}")
            for file, target, guess, probability in rows
        )
    np.save(folder / "test_probabilities.npy", probabilities.numpy(), allow_pickle=False)
