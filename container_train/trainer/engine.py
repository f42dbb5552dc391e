"""The training loop: `train_one_epoch`, `evaluate`, and `fit`, which alternates them.

Called by the job. Sums are kept by picture, so a last, smaller batch weighs no more than it should.
"""

import copy
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from tqdm import tqdm

from trainer.backbones import Classifier
from trainer.data import Batches
from trainer.failures import TrainingError


@dataclass(frozen=True)
class Epoch:
    """Averages over the pictures of one pass."""

    loss: float
    accuracy: float
    images_per_second: float


@dataclass(frozen=True)
class Evaluation:
    """A model's answers for a split, in its order: logits (N, classes) float32, targets (N)."""

    loss: float
    accuracy: float
    logits: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Best:
    """The epoch best on validation, by accuracy, then by loss; the model holds its weights again."""

    epoch: int
    metrics: dict[str, float]


def train_one_epoch(
    model: Classifier,
    batches: Batches,
    optimizer: Optimizer,
    schedule: LRScheduler,
    *,
    device: torch.device,
    precision: torch.dtype,
    label: str,
) -> Epoch:
    """One pass over the training batches; the frozen backbone keeps no gradients.

    Raises `TrainingError` when the loss is no longer a number.
    """
    model.train()
    loss_sum, correct, seen = torch.zeros((), device=device), torch.zeros((), device=device), 0
    started = time.perf_counter()
    for images, targets in _progress(batches, label):
        images, targets = _to_device(images, device), targets.to(device, non_blocking=True)  # noqa: PLW2901
        with torch.no_grad(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
            features = model.extract(images)
        logits = model.head(features.float())
        loss = functional.cross_entropy(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        loss_sum += loss.detach() * len(targets)
        correct += (logits.detach().argmax(1) == targets).sum()
        seen += len(targets)
    seconds = time.perf_counter() - started
    epoch = Epoch(loss_sum.item() / seen, correct.item() / seen, seen / seconds)
    if not math.isfinite(epoch.loss):
        raise TrainingError(
            f"the loss became {epoch.loss} in {label}: lower learning-rate, or look for damaged weights"
        )
    return epoch


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Batches, *, device: torch.device, label: str) -> Evaluation:
    """The model's answers for every picture, in float32."""
    model.eval()
    logits, targets = [], []
    for images, batch_targets in _progress(batches, label):
        logits.append(model(_to_device(images, device)).float().cpu())
        targets.append(batch_targets)
    all_logits, all_targets = torch.cat(logits), torch.cat(targets)
    return Evaluation(
        loss=functional.cross_entropy(all_logits, all_targets).item(),
        accuracy=(all_logits.argmax(1) == all_targets).double().mean().item(),
        logits=all_logits,
        targets=all_targets,
    )


def fit(
    model: Classifier,
    training: Batches,
    validation: Batches,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    device: torch.device,
    precision: torch.dtype,
    report: Callable[[dict[str, float], int], None],
) -> Best:
    """Train the head, and leave the model with the weights of its best epoch on `validation`.

    `report` is called after each epoch with its metrics and its number, from 1. Raises
    `TrainingError` when training diverges or the GPU's memory is exhausted.
    """
    model.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = cosine_schedule(optimizer, steps=epochs * len(training))
    best, best_weights = Best(0, {"validation:accuracy": -1.0, "validation:loss": math.inf}), {}
    for epoch in range(1, epochs + 1):
        label = f"epoch {epoch}/{epochs}"
        try:
            trained = train_one_epoch(
                model, training, optimizer, schedule, device=device, precision=precision, label=label
            )
        except torch.OutOfMemoryError as error:
            raise TrainingError("the GPU's memory is exhausted: lower batch-size") from error
        validated = evaluate(model, validation, device=device, label="validation")
        metrics = epoch_metrics(trained, validated)
        report(metrics, epoch)
        if _rank(metrics) > _rank(best.metrics):
            best, best_weights = Best(epoch, metrics), copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return best


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    """What makes an epoch better: its accuracy, and between equals the smaller loss."""
    return metrics["validation:accuracy"], -metrics["validation:loss"]


def epoch_metrics(trained: Epoch, validated: Evaluation) -> dict[str, float]:
    """The figures of an epoch under their names in `trainer.metrics`."""
    return {
        "train:loss": trained.loss,
        "train:accuracy": trained.accuracy,
        "train:images_per_second": trained.images_per_second,
        "validation:loss": validated.loss,
        "validation:accuracy": validated.accuracy,
    }


def cosine_schedule(optimizer: Optimizer, *, steps: int) -> LambdaLR:
    """The learning rate over `steps` batches: from its start to zero along half a cosine."""
    return LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps)))


def _to_device(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device, memory_format=torch.channels_last, non_blocking=True)


def _progress(batches: Batches, label: str) -> Iterable[tuple[Tensor, Tensor]]:
    """The batches, with pictures per second and the time left on a terminal."""
    images = len(batches.dataset)  # type: ignore[arg-type]
    with tqdm(total=images, desc=label, unit="img", disable=None, file=sys.stderr, leave=False) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch[1]))
