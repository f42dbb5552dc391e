"""Rules about the loss: of single steps, as compared with the first one, and of whole epochs.

Called through `trainer.rules`.
"""

import math
import re
from collections import deque
from itertools import pairwise

import numpy as np

from trainer.smdebug_support import Trial
from trainer.training_rule import LOSS, TrainingRule

_UPDATE = re.compile("^update/.*weight")
_WINDOW = 10  # saved steps over which a loss is judged


class LearningRateTooHigh(TrainingRule):
    """The loss jumps up again and again, or has risen since the first step, and the steps are large.

    A jump is more than half of what a network that knows nothing has, a rise more than a quarter; so is an
    epoch's loss, in training or validation, of more than twice that. Large is a step that changes a layer by
    more than a hundredth: smaller ones are the noise of small batches.
    """

    advice = "Lower learning-rate, by ten times to begin with, or let it rise slowly with warmup"

    def __init__(self, base_trial: Trial, window: int = _WINDOW, rises: int = 3, large: float = 0.01) -> None:
        super().__init__(base_trial)
        self.window, self.rises, self.large = window, rises, large
        self.last: deque[float] = deque(maxlen=window)
        self.first: float | None = None
        self.ignorance: float | None = None  # the loss of a network that knows nothing
        self._largest: float | None = None  # share of its weights that a step has changed

    def at_training(self, step: int) -> None:
        """Take in how large the step is, and its loss."""
        for name in self.names(step, _UPDATE):
            ratio = self.update_ratio(step, name)
            if ratio is not None:
                self._largest = max(self._largest or 0.0, ratio)
        self.ignorance = self.ignorance or self.chance(step)
        loss = self.loss(step)
        if loss is None or not math.isfinite(loss):
            return
        self.first = loss if self.first is None else self.first
        self.last.append(loss)
        self._judge(self.names(step, LOSS)[0], self.first)

    def at_evaluation(self, step: int) -> None:
        """Compare an epoch's losses with what ignorance, or the first step, has: few steps may be saved."""
        if self.first is None or self._small:
            return
        limit = 2 * self._scale(self.first)
        losses = {
            "validation:loss": self.loss(step),
            "train:loss": self.reduction(step, "scalar/train:loss", "mean"),
        }
        for name, loss in losses.items():
            if loss is not None and loss > limit:
                says = f"an epoch's {name} is {loss:.3g}, the first step's was {self.first:.3g}"
                self.found(name, loss, limit, says)
                return

    @property
    def _small(self) -> bool:
        """Whether the steps are too small to do harm; not where the trial does not say."""
        return self._largest is not None and self._largest < self.large

    def _scale(self, first: float) -> float:
        """What losses are compared with: the first one, or that of a network that knows nothing."""
        return max(self.ignorance or 0.0, first)

    def _judge(self, tensor: str, first: float) -> None:
        """Count the jumps of the last window, and compare it with the first step."""
        losses, scale = list(self.last), self._scale(first)
        mean = float(np.mean(losses))
        if self._small or mean <= first:
            return
        jumps = [after - before for before, after in pairwise(losses)]
        high = [jump for jump in jumps if jump > 0.5 * scale]
        if len(high) >= self.rises and min(jumps) >= 0:
            says = f"the loss has risen from {first:.3g} at the first step to {losses[-1]:.3g}"
            self.found(tensor, losses[-1], first + 0.25 * scale, says)
        elif len(high) >= self.rises:
            says = (
                f"the loss oscillates: it has risen {len(high)} times in the last {len(losses)} saved steps, "
                f"by up to {max(high):.3g}"
            )
            self.found(tensor, max(high), 0.5 * scale, says)
        elif len(losses) == self.window and mean > first + 0.25 * scale:
            says = f"the loss has risen from {first:.3g} at the first step to {mean:.3g}"
            self.found(tensor, mean, first + 0.25 * scale, says)


class EpochRule(TrainingRule):
    """A rule about whole epochs: what `scalar/…` says of them, else the mean of the saved losses."""

    def __init__(self, base_trial: Trial) -> None:
        super().__init__(base_trial)
        self.ignorance: float | None = None
        self._losses: list[float] = []

    def at_training(self, step: int) -> None:
        """Keep the losses, for trials that say nothing of the epoch."""
        self.ignorance = self.ignorance or self.chance(step)
        loss = self.loss(step)
        if loss is not None:
            self._losses.append(loss)

    def at_evaluation(self, step: int) -> None:
        """Judge an epoch; several evaluations in a row, batches of a foreign trial, count as one each."""
        epoch = {
            name.removeprefix("scalar/"): value
            for name in self.names(step, re.compile("^scalar/"))
            if (value := self.reduction(step, name, "mean")) is not None
        }
        validation = self.loss(step)
        if validation is not None:
            epoch.setdefault("validation:loss", validation)
        if self._losses:
            epoch.setdefault("train:loss", float(np.mean(self._losses)))
        self._losses = []
        self.judge(epoch)

    def judge(self, epoch: dict[str, float]) -> None:
        """Look at an epoch's figures, by the metrics' names."""


class LossNotDecreasing(EpochRule):
    """After an epoch the loss is as high as at the beginning, in training and in validation, within 5 %.

    The beginning is the first step, or a network that knows nothing where that has the lower loss. Judged are
    an epoch's figures, whatever steps are saved, and only where there is room below them: mixup and label
    smoothing keep the training loss up, which a low validation loss tells.
    """

    advice = (
        "Check the data first: do the folders hold what their names say, are labels mixed up? Then raise "
        "learning-rate, train more epochs, or unfreeze layers"
    )

    def __init__(
        self, base_trial: Trial, share: float = 0.95, start: int = 20, window: int = _WINDOW
    ) -> None:
        super().__init__(base_trial)
        self.share, self.start, self.window = share, start, window
        self._first: list[float] = []  # of a trial without epochs as many as are compared

    def at_training(self, step: int) -> None:
        """Keep the first loss; a foreign trial without evaluations is judged by its saves."""
        super().at_training(step)
        loss = self.loss(step)
        if loss is not None and len(self._first) < self.window:
            self._first.append(loss)
        if self.ignorance is None and len(self._losses) >= 4 * self.window:
            last = float(np.mean(self._losses[-self.window :]))
            self._compare(float(np.mean(self._first)), last, last)

    def judge(self, epoch: dict[str, float]) -> None:
        """Compare an epoch with the beginning; a few steps are too early to say."""
        training, validation = epoch.get("train:loss"), epoch.get("validation:loss")
        if training is None or not self._first or self._training_step + 1 < self.start:
            return
        begun = min(self._first[0], self.ignorance or math.inf)
        self._compare(begun, training, training if validation is None else validation)

    def _compare(self, begun: float, training: float, validation: float) -> None:
        """Say it of a loss that has neither fallen nor, which is another rule's, risen."""
        lowest = min(training, validation)
        flat = lowest >= self.share * begun and training <= begun / self.share
        if flat and lowest > 0.25 * (self.ignorance or begun):
            says = (
                f"the loss is {training:.3g}, after {begun:.3g} at the beginning: it has not fallen to "
                f"{self.share:.0%} of that"
            )
            self.found("train:loss", training, self.share * begun, says)


class Overfit(EpochRule):
    """The validation loss is 10 % above its best, twice in a row, while the training loss fell on.

    And by more than 2 % of what a network that knows nothing has: less is noise where a loss is small.
    """

    advice = (
        "Stop earlier (patience), add dropout, mixup, weight-decay or random crops (views), or collect more "
        "pictures"
    )

    def __init__(self, base_trial: Trial, ratio: float = 1.1, epochs: int = 2) -> None:
        super().__init__(base_trial)
        self.ratio, self.epochs = ratio, epochs
        self._best = self._training_then = math.inf
        self._worse = 0

    def judge(self, epoch: dict[str, float]) -> None:
        """Compare with the best epoch."""
        validation, training = epoch.get("validation:loss"), epoch.get("train:loss")
        if validation is None or training is None:
            return
        if validation < self._best:
            self._best, self._training_then, self._worse = validation, training, 0
            return
        limit = max(self.ratio * self._best, self._best + 0.02 * (self.ignorance or 0.0))
        worse = validation > limit and training < self._training_then
        self._worse = self._worse + 1 if worse else 0
        if self._worse == self.epochs:
            says = (
                f"the validation loss is {validation:.3g}, after {self._best:.3g} at its best, while the "
                f"training loss fell from {self._training_then:.3g} to {training:.3g}"
            )
            self.found("validation:loss", validation, limit, says)


class Underfit(EpochRule):
    """Training and validation accuracy are both low, and have not risen by a point in three epochs."""

    advice = (
        "Raise learning-rate, train more epochs, unfreeze layers or take a larger backbone; take dropout, "
        "mixup and weight-decay back"
    )

    def __init__(self, base_trial: Trial, accuracy: float = 0.5, epochs: int = 3, gain: float = 0.01) -> None:
        super().__init__(base_trial)
        self.accuracy, self.gain = accuracy, gain
        self._last: deque[tuple[float, float]] = deque(maxlen=epochs)

    def judge(self, epoch: dict[str, float]) -> None:
        """Look at the last epochs together."""
        training, validation = epoch.get("train:accuracy"), epoch.get("validation:accuracy")
        if training is None or validation is None:
            return
        self._last.append((training, validation))
        if len(self._last) < (self._last.maxlen or 0):
            return
        gains = [after - before for before, after in zip(self._last[0], self._last[-1], strict=True)]
        if max(training, validation) < self.accuracy and max(gains) < self.gain:
            says = (
                f"after {len(self._last)} epochs without a gain the accuracy is {training:.1%} in training "
                f"and {validation:.1%} in validation"
            )
            self.found("train:accuracy", training, self.accuracy, says)
