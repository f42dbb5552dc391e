"""The rules about a training that is going wrong.

`trainer.debugger` asks them while training goes on, `trainer.analysis` afterwards, of any trial; smdebug's
own `invoke_rule` runs them as well.
"""

from trainer.loss_rules import LearningRateTooHigh, LossNotDecreasing, Overfit, Underfit
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
