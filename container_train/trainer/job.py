"""One training job, put together from the other modules. Called by train_model.py and hpo.py."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openvino
import torch
import torchvision
from tqdm import tqdm

from trainer import metrics
from trainer.backbones import BACKBONES, Classifier, build_classifier
from trainer.config import Hyperparameters
from trainer.data import Batches, RobustImageFolder, Transform, load_splits, make_loader
from trainer.engine import Best, Evaluation, evaluate, fit
from trainer.export import Provenance, export_artifact
from trainer.failures import WeightsError
from trainer.locations import Locations
from trainer.precision import choose_device, choose_precision
from trainer.predictions import write_predictions
from trainer.transforms import Preprocessing, evaluation_transform, training_transform
from trainer.weights import Weights, find_weights, image_weights_folder


@dataclass(frozen=True)
class Job:
    """Everything that a run needs, ready to train."""

    settings: Hyperparameters
    locations: Locations
    splits: dict[str, RobustImageFolder]
    model: Classifier
    weights: Weights
    preprocessing: Preprocessing
    device: torch.device


def prepare(settings: Hyperparameters, locations: Locations, *, splits: Sequence[str]) -> Job:
    """Find the weights, check the pictures, build the model; raises `TrainerError`s.

    `splits` names the data folders to open: `train` first.
    """
    torch.manual_seed(settings.seed)
    backbone = BACKBONES[settings.backbone]
    weights = find_weights(
        backbone, settings.weights, channel=locations.pretrained, image=image_weights_folder()
    )
    print(
        f"{backbone.name}: weights from {weights.source} ({weights.file or 'random numbers'})",
        file=sys.stderr,
    )
    preprocessing = Preprocessing()
    opened = _open_splits(settings, locations, preprocessing, splits)
    try:
        model = build_classifier(backbone, weights.tensors, classes=len(opened["train"].classes))
    except ValueError as error:
        raise WeightsError(f"{weights.file} does not fit {backbone.name}: {error}") from error
    return Job(settings, locations, opened, model, weights, preprocessing, choose_device())


def train(job: Job) -> Best:
    """Train, reporting metrics after each epoch; the model is left at its best epoch."""
    settings = job.settings
    return fit(
        job.model,
        _loader(job, "train"),
        _loader(job, "valid"),
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        device=job.device,
        precision=choose_precision(job.device, mixed=settings.mixed_precision),
        report=_report_epoch,
    )


def test(job: Job) -> dict[str, float]:
    """Answer the test split once, write the answers down, report and return the metrics."""
    evaluation: Evaluation = evaluate(job.model, _loader(job, "test"), device=job.device, label="test")
    split = job.splits["test"]
    write_predictions(job.locations.output_data_dir, evaluation, files=split.files, classes=split.classes)
    values = {"test:loss": evaluation.loss, "test:accuracy": evaluation.accuracy}
    metrics.write_metrics(values)
    return values


def export(job: Job, best: Best, tested: dict[str, float]) -> Path:
    """Write the model artifact; its self-test is the first and the last validation picture."""
    validation = job.splits["valid"]
    provenance = Provenance(
        classes=job.splits["train"].classes,
        preprocessing=job.preprocessing,
        backbone={
            "name": job.settings.backbone,
            "weights": job.weights.source,
            "weights_sha256": job.weights.sha256,
        },
        training_run={**training_run(job.settings), "best_epoch": best.epoch},
        metrics={**best.metrics, **tested},
    )
    images = torch.stack([validation[0][0], validation[len(validation) - 1][0]])
    return export_artifact(job.model, job.locations.model_dir, provenance, selftest=images)


def training_run(settings: Hyperparameters) -> dict[str, Any]:
    """The `training_run` object of artifact.json."""
    return {
        "job_name": os.environ.get("TRAINING_JOB_NAME"),
        "hyperparameters": settings.as_dict(),
        "seed": settings.seed,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "openvino": openvino.__version__,
    }


def _git_revision() -> str | None:
    """GIT_REVISION of the image, or the checkout's."""
    if revision := os.environ.get("GIT_REVISION"):
        return revision
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _open_splits(
    settings: Hyperparameters, locations: Locations, size: Preprocessing, names: Sequence[str]
) -> dict[str, RobustImageFolder]:
    transforms: dict[str, Transform] = dict.fromkeys(names, evaluation_transform(size))
    transforms["train"] = training_transform(size, min_crop_area=settings.min_crop_area)
    return load_splits(
        locations.data,
        transforms,
        max_unreadable=settings.max_unreadable,
        quarantine_file=locations.output_data_dir / "quarantine.csv",
    )


def _loader(job: Job, split: str) -> Batches:
    return make_loader(
        job.splits[split],
        batch_size=job.settings.batch_size,
        workers=job.settings.workers,
        seed=job.settings.seed,
        shuffle=split == "train",
    )


def _report_epoch(values: dict[str, float], epoch: int) -> None:
    with tqdm.external_write_mode():
        metrics.write_metrics(values, epoch=epoch)
