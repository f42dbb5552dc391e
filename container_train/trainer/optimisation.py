"""What turns gradients into weights: step sizes by stage and over time, mixup, the moving average.

All of it is a function of the step's number; nothing but the momentum has a state. Called by
`trainer.engine`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from trainer.config import Hyperparameters

Tensors = dict[str, Tensor]

_MOMENTUM = 0.9


class Optimizer:
    """SGD with Nesterov's momentum; each stage learns at `layer_decay` of the step size of the one above.

    Stage 0 is the head. A weight's name is "stage.place". torch's own `SGD` class does the same sums, but to
    make one imports torch's compiler: more seconds than a head on cached features takes to train.
    """

    def __init__(self, stages: Sequence[Sequence[nn.Parameter]], settings: Hyperparameters) -> None:
        self.stages = [list(parameters) for parameters in stages]
        self.peaks = [settings.learning_rate * settings.layer_decay**depth for depth in range(len(stages))]
        self.weight_decay = settings.weight_decay
        self.weights: Tensors = {
            f"{depth}.{place}": parameter
            for depth, parameters in enumerate(self.stages)
            for place, parameter in enumerate(parameters)
        }
        self.momentum = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        for parameter in self.weights.values():
            parameter.grad = torch.zeros_like(parameter)

    def zero_gradients(self) -> None:
        """Forget the last step's."""
        for gradient in self.gradients():
            gradient.zero_()

    def gradients(self) -> list[Tensor]:
        """One for each weight, in the order of `weights`."""
        return [weight.grad for weight in self.weights.values() if weight.grad is not None]

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Move every weight; `share` is of the peak of its step size."""
        for depth, parameters in enumerate(self.stages):
            sgd(
                list(parameters),
                [parameter.grad for parameter in parameters if parameter.grad is not None],
                [self.momentum[f"{depth}.{place}"] for place in range(len(parameters))],
                fused=True,
                lr=self.peaks[depth] * share,
                weight_decay=self.weight_decay,
                momentum=_MOMENTUM,
                dampening=0,
                nesterov=True,
                maximize=False,
            )


def share_of_peak(step: int, *, steps: int, warmup: float) -> float:
    """The step size as a share of its peak; `warmup` is the share of the steps in which it rises."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def random_generator(*numbers: int) -> torch.Generator:
    """Random numbers that follow from these numbers alone: seed, epoch, step …"""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def dropout_mask(size: int, width: int, *, share: float, generator: torch.Generator) -> Tensor:
    """Factors (size, width): 0 for the `share` that is left out, else what keeps the mean."""
    kept = torch.rand(size, width, generator=generator) >= share
    return kept / (1 - share)


@dataclass(frozen=True)
class Mixture:
    """Mixup (Zhang et al. 2018): each row mixed with another one's, all by one share."""

    share: float
    partners: Tensor  # the row with which each is mixed

    @classmethod
    def drawn(cls, size: int, *, alpha: float, numbers: Sequence[int]) -> "Mixture":
        """That of a batch; the share, from Beta(alpha, alpha), and the partners follow from `numbers`."""
        random = np.random.default_rng(numbers)
        return cls(random.beta(alpha, alpha), torch.from_numpy(random.permutation(size)))

    def part(self, rank: int, ranks: int) -> tuple["Mixture", Tensor]:
        """The mixture of rows rank, rank + ranks, …, and the other ranks' rows that it wants behind them."""
        wanted = self.partners[rank::ranks]
        own = wanted % ranks == rank
        places = wanted // ranks
        places[~own] = len(wanted) + torch.arange(int((~own).sum()))
        return Mixture(self.share, places), wanted[~own]

    def mix(self, rows: Tensor) -> Tensor:
        """As many mixed rows as there are partners, of the first rows."""
        partners = self.partners.to(rows.device)
        return self.share * rows[: len(partners)] + (1 - self.share) * rows[partners]


def update_average(average: Tensors, weights: Tensors, *, decay: float, step: int) -> None:
    """One step of the moving average, in place; its first steps weigh more, so that it forgets its start."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for name, tensor in average.items():
        tensor.lerp_(weights[name].detach(), share)
