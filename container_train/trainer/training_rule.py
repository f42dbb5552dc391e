"""A rule of smdebug about a training: it looks at each saved step in its order, and says once what it found.

The rules themselves are in `trainer.tensor_rules` and `trainer.loss_rules`. Names of tensors follow smdebug's
conventions: `gradient/…`, `…weight…`, `…Loss_output_0`, `LAYER_input_0`, `LAYER_output_0`; `trainer.debugger`
adds `update/…`, `dead/…`, `saturated/…`, `class_counts` and `scalar/METRIC`. What is not there is not judged.
"""

import math
import re

import numpy as np

from trainer.findings import Finding
from trainer.smdebug_support import ModeKeys, Rule, SMDebugError, Trial

LOSS = re.compile(r"[Ll]oss_(?!input).*output")


class TrainingRule(Rule):  # type: ignore[misc]
    """A rule that looks at steps of training, at ends of epochs, or both.

    `findings` has what it found.
    """

    advice: str

    def __init__(self, base_trial: Trial) -> None:
        super().__init__(base_trial, action_str="")
        self.findings: list[Finding] = []
        self._training_step = 0  # optimiser steps, of the last step of training that was seen

    def invoke_at_step(self, step: int) -> bool:
        """Look at a saved step; whether the rule has something to say."""
        if self.settled:
            return False
        before = len(self.findings)
        mode, mode_step = self.base_trial.mode_modestep(step)
        if mode == ModeKeys.EVAL:
            # All steps that were no evaluations were training's, and the last of them came just before.
            self._training_step = max(0, step - mode_step - 1)
            self.at_evaluation(step)
        else:
            self._training_step = mode_step
            self.at_training(step)
        return len(self.findings) > before

    @property
    def settled(self) -> bool:
        """Whether the rule has said all that it has to say."""
        return bool(self.findings)

    def at_training(self, step: int) -> None:
        """Look at a step of training."""

    def at_evaluation(self, step: int) -> None:
        """Look at an evaluation."""

    def found(self, tensor: str, value: float, threshold: float, says: str) -> None:
        """Keep a finding."""
        self.findings.append(
            Finding(type(self).__name__, self._training_step, tensor, value, threshold, says, self.advice)
        )

    def names(self, step: int, pattern: re.Pattern[str]) -> list[str]:
        """The tensors of a step whose names the pattern is found in."""
        return [name for name in self.base_trial.tensor_names(step=step) if pattern.search(name)]

    def reduction(self, step: int, tensor: str, reduction: str, *, absolute: bool = False) -> float | None:
        """A reduction of a tensor, `None` where it was not saved and cannot be computed."""
        try:
            value = self.base_trial.tensor(tensor).reduction_value(step, reduction, abs=absolute)
        except (SMDebugError, TypeError, ValueError):  # NumPy knows no norm of a scalar, or of 16 bits
            return None
        return None if value is None else float(value)

    def update_ratio(self, step: int, update: str) -> float | None:
        """The norm of what a step changed, `update/…`, relative to that of the weights."""
        change = self.reduction(step, update, "l2")
        size = self.reduction(step, update.removeprefix("update/"), "l2")
        if change is None or not size or not math.isfinite(change):
            return None
        return change / size

    def value(self, step: int, tensor: str) -> np.ndarray | None:
        """A whole tensor, `None` where it was not saved."""
        try:
            value: np.ndarray = self.base_trial.tensor(tensor).value(step)
        except SMDebugError:
            return None
        return value

    def loss(self, step: int) -> float | None:
        """The mean of the step's loss."""
        for name in self.names(step, LOSS):
            value = self.value(step, name)
            if value is not None:
                return float(np.mean(value))
        return None

    def chance(self, step: int) -> float | None:
        """What the loss is of a network that knows nothing, ln(classes), at a step that says how many."""
        counts = self.value(step, "class_counts")
        return None if counts is None else math.log(max(2, len(counts)))
