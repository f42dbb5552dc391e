"""Rules about tensors: gradients, weights, activations, the pictures that reach the network.

Called through `trainer.rules`.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.smdebug_support import Trial
from trainer.training_rule import LOSS, TrainingRule

_GRADIENT = re.compile(r"^gradient/")
_UPDATE = re.compile(r"^update/")
# Not of the head's output: logits that are all zero are how a head of zeros begins.
_ACTIVATION = re.compile(r"^(?!dead/|saturated/|head_output_).*(?<![Ll]oss)_output_\d+$|^head_input_\d+$")
_INPUT = re.compile(r"^Classifier_input_\d+$")
_WEIGHT = re.compile(r"^(?!gradient/|update/|scalar/|dead/|saturated/)(?!.*_(input|output)_\d+$).*weight")


class VanishingGradient(TrainingRule):
    """A layer's gradient has a norm below 1e-6, at two saved steps in a row, though there is a loss.

    One step alone is how the layers below a head of zeros begin.
    """

    advice = (
        "Raise learning-rate, check the pictures' normalisation and the start of the weights, or unfreeze "
        "fewer layers"
    )

    def __init__(self, base_trial: Trial, threshold: float = 1e-6, learned: float = 1e-3) -> None:
        super().__init__(base_trial)
        self.threshold, self.learned = threshold, learned
        self._before: set[str] = set()

    def at_training(self, step: int) -> None:
        """Compare each gradient's norm."""
        loss = self.loss(step)
        if loss is not None and loss < self.learned:
            return
        norms = {name: self.reduction(step, name, "l2") for name in self.names(step, _GRADIENT)}
        small = {name: norm for name, norm in norms.items() if norm is not None and norm < self.threshold}
        lasting = {name: norm for name, norm in small.items() if name in self._before}
        self._before = set(small)
        if lasting:
            name = min(lasting, key=lambda each: lasting[each])
            others = f", and {len(lasting) - 1} others are as small" if len(lasting) > 1 else ""
            says = f"the gradient of {_parameter(name)} has a norm of {lasting[name]:.2g}{others}"
            self.found(name, lasting[name], self.threshold, says)


class ExplodingTensor(TrainingRule):
    """A gradient's norm is above 100, or any tensor holds NaN or infinity."""

    advice = (
        "Lower learning-rate, set clip-gradients (1 is a usual value), and check the pictures' "
        "normalisation; NaN in the inputs is damaged data"
    )

    def __init__(self, base_trial: Trial, threshold: float = 100.0) -> None:
        super().__init__(base_trial)
        self.threshold = threshold

    @property
    def settled(self) -> bool:
        """A large gradient is told, and so is what it has led to."""
        return any(not math.isfinite(finding.value) for finding in self.findings)

    def at_training(self, step: int) -> None:
        """Look for what is not finite first, from the inputs on; then at the gradients."""
        for name in sorted(self.names(step, re.compile("")), key=_nearest_the_inputs):
            size = self._size(step, name)
            if size is not None and not math.isfinite(size):
                what = "NaN" if math.isnan(size) else "infinity"
                self.found(name, size, self.threshold, f"{_parameter(name)} holds {what}")
                return
        if self.findings:
            return
        norms = {name: self.reduction(step, name, "l2") for name in self.names(step, _GRADIENT)}
        large = {name: norm for name, norm in norms.items() if norm is not None and norm > self.threshold}
        if large:
            name = max(large, key=lambda each: large[each])
            says = f"the gradient of {_parameter(name)} has a norm of {large[name]:.3g}"
            self.found(name, large[name], self.threshold, says)

    def _size(self, step: int, name: str) -> float | None:
        """Its norm; where only other reductions were saved, its mean."""
        norm = self.reduction(step, name, "l2")
        return norm if norm is not None else self.reduction(step, name, "mean")


class PoorInitialisation(TrainingRule):
    """A layer begins with weights so small that its units are alike, or so large that they drown the rest.

    Zeros are not judged: a last layer may begin with them, and the last norm of a residual block does.
    """

    advice = (
        "Give the layer a usual start (He or Xavier; zeros for a last, linear layer) or pretrained weights"
    )

    def __init__(self, base_trial: Trial, smallest: float = 1e-6, largest: float = 10.0) -> None:
        super().__init__(base_trial)
        self.smallest, self.largest = smallest, largest

    def at_training(self, step: int) -> None:
        """Look at the very first step."""
        if self._training_step > 0:
            return
        for name in self.names(step, _WEIGHT):
            highest = self.reduction(step, name, "max", absolute=True)
            spread = self.reduction(step, name, "std")
            if highest is not None and 0 < highest < self.smallest:
                says = f"the largest weight of {_parameter(name)} is {highest:.2g} at the start"
                self.found(name, highest, self.smallest, says)
                return
            if spread is not None and spread > self.largest:
                says = f"the weights of {_parameter(name)} spread by {spread:.3g} at the start"
                self.found(name, spread, self.largest, says)
                return


class SaturatedOrDeadActivation(TrainingRule):
    """Half of a layer's channels are zero for a whole batch, or half of its values stand at their limit.

    At two saved steps in a row: a small batch may miss what a channel is for.
    """

    advice = (
        "Check the pictures' normalisation, lower learning-rate, and look at the start of the layer's "
        "weights; units that died do not come back: begin anew"
    )

    def __init__(self, base_trial: Trial, threshold: float = 0.5) -> None:
        super().__init__(base_trial)
        self.threshold = threshold
        self._before: set[tuple[str, str]] = set()

    def at_training(self, step: int) -> None:
        """Take the shares that were saved, or compute them from whole tensors."""
        ill = {
            (name, what): share
            for name, health in self._health(step)
            for share, what in (
                (health.dead, "channels of {} are zero for the whole batch"),
                (health.saturated, "values of {} stand at their limit"),
            )
            if share > self.threshold
        }
        lasting = [each for each in ill if each in self._before]
        self._before = set(ill)
        if lasting:
            name, what = lasting[0]
            share = ill[name, what]
            self.found(name, share, self.threshold, f"{share:.0%} of the {what.format(name)}")

    def _health(self, step: int) -> Iterator[tuple[str, "Health"]]:
        for name in self.names(step, _ACTIVATION):
            dead, saturated = self.value(step, f"dead/{name}"), self.value(step, f"saturated/{name}")
            if dead is not None and saturated is not None:
                yield name, Health(float(dead), float(saturated))
                continue
            whole = self.value(step, name)
            if whole is not None and whole.ndim > 1:
                yield name, health(torch.from_numpy(np.array(whole)))


@dataclass(frozen=True)
class Health:
    """Which share of a layer's channels is dead, and of its values at their upper or lower limit."""

    dead: float
    saturated: float


def health(activations: Tensor) -> Health:
    """Of one layer's activations (N, channels, …).

    A channel is dead that is zero for all pictures. A value is at its limit that is as large as the largest,
    or as small as the smallest, but for 0.1 %; zero is no lower limit, it is what a ReLU is for.
    """
    activations = activations.float()  # of truth values as well
    by_channel = activations.transpose(0, 1).flatten(1)
    dead = (by_channel == 0).all(dim=1).float().mean().item()
    low, high = activations.min(), activations.max()
    near = 1e-3 * (high - low)
    at_high = (activations >= high - near) & (high > 0)
    at_low = (activations <= low + near) & (low < 0)
    saturated = (at_high | at_low).float().mean().item() if high > low else 0.0
    return Health(dead, saturated)


class UpdateRatio(TrainingRule):
    """A step changes a layer's weights by more than half, or by less than 1e-8, three saves in a row.

    The first steps are not judged: weights that begin at zero are changed by all they have.
    """

    advice = (
        "Lower learning-rate where steps are too large; raise it, or layer-decay, where they are too small"
    )

    def __init__(self, base_trial: Trial, low: float = 1e-8, high: float = 0.5, start: int = 20) -> None:
        super().__init__(base_trial)
        self.low, self.high, self.start, self.saves = low, high, start, 3
        self._outside: dict[str, int] = {}

    def at_training(self, step: int) -> None:
        """Compare the norm of each update with that of the weights."""
        if self._training_step < self.start:
            return
        for name in self.names(step, _UPDATE):
            weights = name.removeprefix("update/")
            if "weight" not in weights:
                continue  # biases begin at zero
            ratio = self.update_ratio(step, name)
            if ratio is None:
                continue
            outside = not self.low <= ratio <= self.high
            self._outside[name] = self._outside.get(name, 0) + 1 if outside else 0
            if self._outside[name] == self.saves:
                limit = self.low if ratio < self.low else self.high
                says = f"a step changes {weights} by {ratio:.2g} of its size; 1e-3 is usual"
                self.found(name, ratio, limit, says)
                return


class ClassImbalance(TrainingRule):
    """The most frequent class has more than ten times the pictures of the rarest."""

    advice = (
        "Collect pictures of the rare classes, or leave some of the frequent one out; judge the model by its "
        "accuracy on each class (report_card.json), not by the mean over pictures"
    )

    def __init__(self, base_trial: Trial, threshold: float = 10.0) -> None:
        super().__init__(base_trial)
        self.threshold = threshold

    def at_training(self, step: int) -> None:
        """Look at the step that says how many pictures each class has."""
        counts = self.value(step, "class_counts")
        if counts is None:
            return
        ratio = float(counts.max() / max(1, counts.min()))
        if ratio > self.threshold:
            share = counts.max() / counts.sum()
            says = (
                f"one class has {counts.max():.0f} of the training pictures ({share:.0%}), another "
                f"{counts.min():.0f}"
            )
            self.found("class_counts", ratio, self.threshold, says)


class InputsNotNormalised(TrainingRule):
    """Pictures that reach the network are far from mean 0 and deviation 1, or did for cached features."""

    advice = (
        "Normalise pictures as the pretrained weights expect them: ImageNet's mean and deviation; features "
        "that were computed from others have to be removed from the cache"
    )

    def __init__(
        self, base_trial: Trial, mean: float = 2.0, narrowest: float = 0.4, widest: float = 2.5
    ) -> None:
        super().__init__(base_trial)
        self.mean, self.narrowest, self.widest = mean, narrowest, widest

    def at_training(self, step: int) -> None:
        """Look at the batch's mean and deviation, and at those of what cached features were computed from."""
        for name in self.names(step, _INPUT):
            self._judge(name, self.reduction(step, name, "mean"), self.reduction(step, name, "std"))
        extracted = self.value(step, "extracted_inputs")
        for mean, spread in () if extracted is None else extracted:
            self._judge("extracted_inputs", float(mean), float(spread))

    def _judge(self, name: str, mean: float | None, spread: float | None) -> None:
        if self.findings:
            return
        if mean is not None and abs(mean) > self.mean:
            self.found(name, mean, self.mean, f"the pictures' mean is {mean:.3g}, which should be near 0")
        elif spread is not None and not math.isnan(spread) and not self.narrowest <= spread <= self.widest:
            limit = self.narrowest if spread < self.narrowest else self.widest
            says = f"the pictures' standard deviation is {spread:.3g}, which should be near 1"
            self.found(name, spread, limit, says)


def _parameter(name: str) -> str:
    """A tensor's name without what only tells its kind."""
    return name.removeprefix("gradient/").removeprefix("Classifier_")


def _nearest_the_inputs(name: str) -> tuple[int, str]:
    """Where NaN comes from is told before where it went."""
    order = (_INPUT, re.compile("_input_"), _WEIGHT, LOSS, _GRADIENT)
    return next((place for place, kind in enumerate(order) if kind.search(name)), len(order)), name
