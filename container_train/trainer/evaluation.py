"""A model's answers for a split of the photographs, by one process or several.

Called by the training loop after each epoch, and by the job for its test split.
"""

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from trainer.loading import Source, in_order
from trainer.machine import Machine
from trainer.network import Network
from trainer.pieces import in_pieces


@dataclass(frozen=True)
class Evaluation:
    """A model's answers for a split, in its order: logits (N, classes) float32, targets (N)."""

    logits: Tensor
    targets: Tensor

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return functional.cross_entropy(self.logits, self.targets).item()

    @property
    def accuracy(self) -> float:
        """Share that is named right."""
        return (self.logits.argmax(1) == self.targets).double().mean().item()


def evaluate(model: Network, split: Source, machine: Machine, *, batch_size: int, label: str) -> Evaluation:
    """The model's answers for every picture, once, in float32; every process gets all of them.

    Raises `Terminated` when a stop is requested meanwhile.
    """
    group = machine.group
    requests = in_order(len(split), batch_size=batch_size, rank=group.rank, ranks=group.size)
    logits, targets = [torch.empty(0, model.head.out_features)], [torch.empty(0, dtype=torch.long)]

    def answer(inputs: Tensor) -> Tensor:
        scores: Tensor = model.head(model.extract(inputs).float())
        return scores

    with torch.inference_mode(), progress_bar(len(split), label) as bar:
        for inputs, batch_targets in split.load(requests):
            if machine.stop.requested:
                break
            prepared = split.prepare(inputs, machine.device)
            logits.extend(piece.cpu() for piece in in_pieces(answer, prepared, machine.stop))
            targets.append(batch_targets)
            bar.update(len(batch_targets) * group.size)
    if machine.anyone_stops():
        machine.stop.requested = True
        machine.stop.check()
    return Evaluation(group.gather_rows(torch.cat(logits)), group.gather_rows(torch.cat(targets)))


def progress_bar(images: int, label: str, *, done: int = 0) -> "tqdm[Any]":
    """Pictures per second and the time left, on a terminal."""
    return tqdm(
        total=images, initial=done, desc=label, unit="img", disable=None, file=sys.stderr, leave=False
    )
