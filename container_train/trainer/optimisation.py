"""What turns gradients into weights: step sizes by stage and over time, mixup, the moving average.

All of it is a function of the step's number; nothing but the momentum has a state. Called by
`trainer.engine`.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD

from trainer.config import Hyperparameters

Tensors = dict[str, Tensor]

_MOMENTUM = 0.9


def build_optimizer(stages: Sequence[Sequence[nn.Parameter]], settings: Hyperparameters) -> SGD:
    """SGD with Nesterov's momentum; stage 0 is the head.

    Each stage below it learns at `layer_decay` of the step size of the one above.
    """
    groups = [
        {"params": list(parameters), "peak": settings.learning_rate * settings.layer_decay**depth}
        for depth, parameters in enumerate(stages)
        if parameters
    ]
    return SGD(
        groups,
        lr=settings.learning_rate,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def set_learning_rate(optimizer: SGD, *, step: int, steps: int, warmup: float) -> None:
    """Give each stage its step size for step 0, 1, … of `steps`: a rise, then half a cosine to zero."""
    share = share_of_peak(step, steps=steps, warmup=warmup)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def share_of_peak(step: int, *, steps: int, warmup: float) -> float:
    """The step size as a share of its peak; `warmup` is the share of the steps in which it rises."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def random_generator(*numbers: int) -> torch.Generator:
    """Random numbers that follow from these numbers alone: seed, epoch, step …"""
    return torch.Generator().manual_seed(_mixed(numbers))


def _mixed(numbers: Sequence[int]) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def dropout_mask(size: int, width: int, *, share: float, generator: torch.Generator) -> Tensor:
    """Factors (size, width): 0 for the `share` that is left out, else what keeps the mean."""
    kept = torch.rand(size, width, generator=generator) >= share
    return kept / (1 - share)


def mix(inputs: Tensor, targets: Tensor, *, alpha: float, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018): each input and its target (N, classes) mixed with another one's.

    One share for the batch, from Beta(alpha, alpha); it and the partners follow from `numbers`.
    """
    random = np.random.default_rng(numbers)
    share = random.beta(alpha, alpha)
    partner = torch.from_numpy(random.permutation(len(inputs))).to(inputs.device)
    return (
        share * inputs + (1 - share) * inputs[partner],
        share * targets + (1 - share) * targets[partner],
    )


def update_average(average: Tensors, weights: Tensors, *, decay: float, step: int) -> None:
    """One step of the moving average, in place; its first steps weigh more, so that it forgets its start."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for name, tensor in average.items():
        tensor.lerp_(weights[name].detach(), share)
