"""The rules about a training that is going wrong.

`trainer.debugger` asks them while training goes on, `trainer.analysis` afterwards, of any trial; smdebug's
own `invoke_rule` runs them as well.
"""

import sys
from collections.abc import Iterable, Iterator

from trainer.findings import Finding
from trainer.loss_rules import LearningRateTooHigh, LossNotDecreasing, Overfit, Underfit
from trainer.smdebug_support import RuleEvaluationConditionMet
from trainer.tensor_rules import (
    ClassImbalance,
    ExplodingTensor,
    InputsNotNormalised,
    PoorInitialisation,
    SaturatedOrDeadActivation,
    UpdateRatio,
    VanishingGradient,
)
from trainer.training_rule import TrainingRule
from trainer.trial_steps import SavedStep, StepTrial

RULES: tuple[type[TrainingRule], ...] = (
    VanishingGradient,
    ExplodingTensor,
    LossNotDecreasing,
    LearningRateTooHigh,
    Overfit,
    Underfit,
    PoorInitialisation,
    SaturatedOrDeadActivation,
    UpdateRatio,
    ClassImbalance,
    InputsNotNormalised,
)


class Watchers:
    """All rules, looking at one trial's steps as they are shown."""

    def __init__(self, trial: str) -> None:
        self._trial = StepTrial(trial)
        self._rules: list[TrainingRule] = [rule(self._trial) for rule in RULES]

    def remember(self, findings: Iterable[Finding]) -> None:
        """Let no rule say again what it has said in a part of the training that this trial does not hold."""
        for rule in self._rules:
            rule.findings += [finding for finding in findings if finding.rule == type(rule).__name__]

    def look(self, step: SavedStep) -> Iterator[Finding]:
        """What the rules find in the next step.

        A rule that breaks over a strange trial is left out from then on, with a warning: a training of hours
        does not end over it.
        """
        self._trial.show(step)
        for rule in list(self._rules):
            try:
                rule.invoke(step.number)
            except RuleEvaluationConditionMet:
                yield rule.findings[-1]
            except Exception as error:  # noqa: BLE001
                self._rules.remove(rule)
                name = type(rule).__name__
                print(f"warning: the rule {name} cannot judge step {step.number} and is left out: {error!r}",
                      file=sys.stderr, flush=True)  # fmt: skip
