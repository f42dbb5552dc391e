"""Probabilities that mean what they say: one temperature, fitted on the validation split.

Pure functions on logits, called by the job after training and by `trainer.scorecard`. The method and
the measure are those of Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; the doubt about
targets that keeps the method sane where all answers are right is that of Platt, "Probabilistic Outputs for
Support Vector Machines and Comparisons to Regularized Likelihood Methods", 1999.
"""

import math

import torch
from torch import Tensor

BOUNDS = (0.05, 20.0)
_HALVINGS = 40  # of the interval of log T: exact to 1e-11


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The T that makes softmax(logits / T) most likely: logits (N, C), targets (N) class indices.

    Each target is believed to (N + 1) / (N + 2) only, Laplace's rule of succession; the rest is given to the
    likeliest other class. Without that doubt no temperature would be best where every picture is answered
    right: the likelihood rises for ever as T falls. Given to one class and not to all, it moves T by less
    than 1 % on a thousand pictures with mistakes; and unlike a prior on T it has no scale of its own: logits
    times c give T times c.

    Within `BOUNDS`: where the answers are worse than guessing the result is the upper one. Logits without
    any difference say nothing about T: 1.
    """
    excess = excess_over_target(logits, targets)
    if not excess.any():
        return 1.0
    others = excess.scatter(1, targets[:, None], -math.inf)
    doubted = others.max(dim=1).values.mean().item() / (len(targets) + 2)
    lower, upper = (math.log(bound) for bound in BOUNDS)
    for _ in range(_HALVINGS):
        middle = (lower + upper) / 2
        lower, upper = (lower, middle) if _is_too_high(math.exp(middle), excess, doubted) else (middle, upper)
    return min(max(math.exp(upper), BOUNDS[0]), BOUNDS[1])


def expected_calibration_error(probabilities: Tensor, targets: Tensor, *, bins: int = 15) -> float:
    """How far confidence and accuracy lie apart, 0 to 1: probabilities (N, C), targets (N).

    The top answers are put into `bins` equally wide intervals (a, b] of their probability; the error is
    the mean of |accuracy - mean probability| over the bins, weighted by their pictures (Guo et al., eq. 3).
    """
    confidence, answers = probabilities.double().max(dim=1)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidence.device)[1:-1]
    gaps = (answers == targets).double() - confidence
    sums = torch.zeros(bins, dtype=torch.float64, device=gaps.device)
    sums.index_add_(0, torch.bucketize(confidence, edges), gaps)
    return sums.abs().sum().item() / len(targets)


def excess_over_target(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits (N, C) less the right class's own, float64: the loss is the mean of their log-sum-exp."""
    logits = logits.double()
    return logits - logits.gather(1, targets[:, None])


def _is_too_high(temperature: float, excess: Tensor, doubted: float) -> bool:
    """Whether a lower temperature is likelier.

    With b = 1/T the loss is mean(logsumexp(b · excess)) - b · doubted, convex in b, so the sign of its slope
    tells on which side of T the minimum lies, and halving the interval finds it without fail.
    """
    expected = (torch.softmax(excess / temperature, dim=1) * excess).sum(dim=1)
    return expected.mean().item() < doubted
