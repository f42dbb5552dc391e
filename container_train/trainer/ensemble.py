"""Several classifiers that answer as one: the weighted mean of their log-probabilities.

Called by the job when more than one backbone is trained: `fit_weights` on the validation split's
answers, then `Ensemble` is exported as any single network.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.calibration import excess_over_target

_TOLERANCE = 1e-7  # nats per picture between the result and the optimum
_MOST_STEPS = 2000


class Ensemble(nn.Module):
    """Networks (images → logits of the same classes) and one weight for each."""

    weights: Tensor

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        if len(members) != len(weights):
            raise ValueError(f"{len(members)} members cannot have {len(weights)} weights")
        self.members = nn.ModuleList(members)
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of normalised pictures (N, 3, S, S); their softmax is the answer."""
        return _combine([member(images) for member in self.members], self.weights)


def combine(logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The members' logits, K of (N, classes), as one: Σ weight · log-probability, (N, classes)."""
    return _combine(logits, torch.tensor(weights, dtype=torch.float32, device=logits[0].device))


def _combine(logits: Sequence[Tensor], weights: Tensor) -> Tensor:
    log_probabilities = torch.stack([functional.log_softmax(member, dim=1) for member in logits])
    return (weights.view(-1, 1, 1) * log_probabilities).sum(dim=0)


def fit_weights(log_probabilities: Sequence[Tensor], targets: Tensor) -> list[float]:
    """The members' weights, each from 0 and 1 in sum, that make the targets most likely.

    `log_probabilities` are the members' answers, (N, C) each and finite. The loss of
    softmax(Σ w_k · log p_k) is a mean of log-sum-exps of functions linear in w, hence convex, and
    so is the simplex: there are no local optima. It is descended by exponentiated gradients
    (Kivinen and Warmuth 1997) from equal weights, downhill only, so that the result is never worse
    than the plain average; no random numbers are involved.
    """
    excess = torch.stack([excess_over_target(member, targets) for member in log_probabilities])
    position = torch.full((len(excess),), -math.log(len(excess)), dtype=torch.float64, device=excess.device)
    step, (loss, slope) = 1.0, _loss_and_slope(excess, position.exp())
    for _ in range(_MOST_STEPS):
        weights = position.exp()
        if weights @ slope - slope.min() < _TOLERANCE:
            break  # the loss lies at most this much above its minimum: the Frank-Wolfe gap (Jaggi 2013)
        candidate = torch.log_softmax(position - step * slope, dim=0)
        moved = candidate.exp()
        promised = loss + slope @ (moved - weights) + moved @ (candidate - position) / step  # below `loss`
        reached, next_slope = _loss_and_slope(excess, moved)
        if reached <= promised:
            position, loss, slope, step = candidate, reached, next_slope, 2 * step
        else:
            step /= 2
    return [float(weight) for weight in torch.softmax(position, dim=0)]


def _loss_and_slope(excess: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean log-sum-exp of the weighted excess (K, N, C) and its derivative by each weight (K)."""
    mixed = torch.tensordot(weights, excess, dims=1)
    expected = (torch.softmax(mixed, dim=1) * excess).sum(dim=2)
    return torch.logsumexp(mixed, dim=1).mean(), expected.mean(dim=1)
