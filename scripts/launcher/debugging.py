"""The parts of a CreateTrainingJob request that SageMaker Debugger reads, built by pure functions.

Called by `arguments` for `launch_training.py`. The training program saves its tensors and runs its rules
with or without them; with them the platform copies the tensors to S3 while the job runs, watches the machine,
and with `--managed-rules` lets AWS's own rules look at the tensors as well.

A debughookconfig.json goes before the job's own hyperparameters, so those that say when and what to save
(debug-interval, debug-whole) are said there too. Without them the job chooses its steps itself.

**What the managed rules are given.** WeightUpdateRatio subtracts one step's weights from another's,
VanishingGradient takes the mean of |gradient|, and no documentation promises that they are content with
reductions, so losses, gradients, weights and biases (not activations) are saved whole for them, as in AWS's
own examples, and at fixed steps: WeightUpdateRatio's num_steps has to equal their distance. Left out are the
rules whose tensors the job does not save: PoorWeightInitialization and SaturatedActivation read whole
activations (for an unfrozen ResNet50 gigabytes a save), ClassImbalance every label and answer. The job's own
rules cover all three. ExplodingTensor of AWS knows no threshold: it finds NaN and infinity.
https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.errors import SettingsError
from launcher.requests import Json, Request
from launcher.rule_images import rule_image

TENSORS = "/opt/ml/output/tensors"  # where the job saves them, and from where the platform copies them
COLLECTIONS = ("losses", "gradients", "weights", "biases")
OWN_COLLECTIONS = ("updates", "activations")  # the job's, which no managed rule reads (trainer.hook)
# As smdebug's ReductionConfig.from_dict reads them: norms end in _norm, those of |tensor| begin with abs_.
REDUCTIONS = "mean,std,min,max,l2_norm,abs_max"
SAVE_INTERVAL = 50  # steps between saves for managed rules, where debug-interval does not say
MONITORING_MILLISECONDS = 500  # one of the platform's 100, 200, 500, 1000, 5000, 60000


@dataclass(frozen=True)
class Debugging:
    """What a request has for the platform's Debugger; `None` and empty are not sent."""

    hook: Request | None = None
    profiler: Request | None = None
    rules: Sequence[Request] = ()


def debugging(
    hyperparameters: Mapping[str, Json], output_uri: str, *, managed_rules_in: str | None = None
) -> Debugging:
    """Return what follows from a job's hyperparameters; `managed_rules_in` is the region of AWS's rules.

    Raises SettingsError for managed rules of a job that saves no tensors, or those of several networks, and
    in a region that has none.
    """
    profiler = profiler_config(output_uri, on=_is(hyperparameters.get("profile"), default=True))
    if not _is(hyperparameters.get("debug"), default=True):
        if managed_rules_in:
            raise SettingsError("--managed-rules need the tensors that debug=false does not save: choose one")
        return Debugging(profiler=profiler)
    interval = _steps(hyperparameters.get("debug-interval"))
    whole = _is(hyperparameters.get("debug-whole"), default=False)
    if managed_rules_in and "," in str(hyperparameters.get("backbone")):
        raise SettingsError("--managed-rules look at one trial, and each of several backbones has its own")
    if not managed_rules_in:
        return Debugging(hook_config(output_uri, interval=interval, whole=whole), profiler)
    interval = interval or SAVE_INTERVAL
    rules = rule_configurations(managed_rules_in, interval)
    reduced = () if whole else OWN_COLLECTIONS
    return Debugging(hook_config(output_uri, interval=interval, whole=True, but=reduced), profiler, rules)


def _is(value: Json, *, default: bool) -> bool:
    """Read a hyperparameter as the training program does; what is wrong is for that to say."""
    return default if value is None else str(value).lower() in {"true", "1"}


def _steps(value: Json) -> int:
    return int(str(value)) if str(value).isdecimal() else 0


def hook_config(
    output_uri: str, *, interval: int = 0, whole: bool = False, but: Sequence[str] = ()
) -> Request:
    """Build a DebugHookConfig: reductions or `whole` tensors, every `interval` steps or when the job says.

    `but` names collections of which reductions are enough in any case.
    """
    reductions = {"reductions": REDUCTIONS}
    parameters = {} if whole else dict(reductions)
    if interval:
        parameters |= {"train.save_interval": str(interval), "eval.save_interval": "1"}
    return {
        "S3OutputPath": output_uri,
        "LocalPath": TENSORS,
        "HookParameters": parameters,
        "CollectionConfigurations": [
            *({"CollectionName": name} for name in COLLECTIONS),
            *({"CollectionName": name, "CollectionParameters": dict(reductions)} for name in but),
        ],
    }


def profiler_config(output_uri: str, *, on: bool = True) -> Request:
    """Build a ProfilerConfig: the platform watches processors, memory, disk and GPUs, or does not."""
    if not on:
        return {"DisableProfiler": True}
    return {"S3OutputPath": output_uri, "ProfilingIntervalInMilliseconds": MONITORING_MILLISECONDS}


def rule_configurations(region: str, interval: int) -> list[Request]:
    """Build the DebugRuleConfigurations of AWS's rules on tensors that are saved every `interval` steps.

    Raises SettingsError in a region that has none.
    """
    image = rule_image(region)
    return [
        {
            "RuleConfigurationName": name,
            "RuleEvaluatorImage": image,
            "RuleParameters": {"rule_to_invoke": name, **parameters},
        }
        for name, parameters in _managed_rules(interval).items()
    ]


def _managed_rules(interval: int) -> dict[str, dict[str, str]]:
    """Return AWS's rules of which the job has one too, with what differs from AWS's defaults."""
    return {
        "VanishingGradient": {"threshold": "0.000001"},
        "ExplodingTensor": {},
        "LossNotDecreasing": {"num_steps": str(4 * interval), "mode": "TRAIN"},  # one batch's loss is noisy
        "Overfit": {},
        "Overtraining": {},
        "WeightUpdateRatio": {"num_steps": str(interval)},
    }
