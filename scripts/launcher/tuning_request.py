"""The CreateHyperParameterTuningJob request: built, checked, and taken apart into one request for each trial.

The request is a training request that lacks some hyperparameters, and the ranges to find them in. The same
dictionary is sent to AWS, or carried out on this machine by `tuner`.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from launcher import hyperparameter_check, requests, search_space
from launcher.errors import SettingsError
from launcher.requests import Request
from launcher.search import Range, Search
from launcher.search_space import Choices, Interval

OPERATION = "CreateHyperParameterTuningJob"
PROGRAM = {"SAGEMAKER_PROGRAM": "hpo.py"}  # what a trial runs; the image's own default is train_model.py
# What a training request and a tuning job's definition have in common, under the same keys.
_SHARED = (
    "AlgorithmSpecification", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "RoleArn",
    "StoppingCondition", "EnableNetworkIsolation", "CheckpointConfig", "EnableManagedSpotTraining",
    "VpcConfig", "EnableInterContainerTrafficEncryption",
)  # fmt: skip
NOTHING = r"(?!)()"  # a regular expression that matches nowhere
PARALLEL_LIMIT = 100  # of MaxParallelTrainingJobs: what AWS raises an account's quota of 10 to at most


@dataclass(frozen=True)
class Objective:
    """What a search is for: a metric, and whether more of it is better."""

    metric: str
    maximize: bool

    def __str__(self) -> str:
        return f"{self.metric} ({'Maximize' if self.maximize else 'Minimize'})"


def objective(request: Request) -> Objective:
    """Return what a request's search is for."""
    named = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    return Objective(named["MetricName"], maximize=named["Type"] == "Maximize")


def objective_regex(request: Request) -> str:
    """Return the regular expression that finds the objective in a trial's log.

    That of a job whose algorithm has its metrics built in, which was begun elsewhere, finds nothing.
    """
    wanted = objective(request).metric
    definitions = request["TrainingJobDefinition"]["AlgorithmSpecification"].get("MetricDefinitions", [])
    regex: str = next((each["Regex"] for each in definitions if each["Name"] == wanted), NOTHING)
    return regex


def tuning_job(name: str, search: Search, training: Request, *, parents: Sequence[str] = ()) -> Request:
    """Build the request from the search's settings and the training request of a trial.

    `parents` are earlier tuning jobs whose trials are known from the start.
    """
    request: Request = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": _config(search),
        "TrainingJobDefinition": _definition(training),
    }
    if tags := training.get("Tags"):
        request["Tags"] = tags  # the trials have them too
    if parents:
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": each} for each in parents],
            "WarmStartType": "TransferLearning",
        }
    return check(request)


def _config(search: Search) -> Request:
    hyperband = search.strategy == "Hyperband"
    limits: Request = {"MaxParallelTrainingJobs": search.max_parallel_trials}
    if search.strategy != "Grid":  # which has as many as there are combinations
        limits["MaxNumberOfTrainingJobs"] = search.max_trials
    if search.max_runtime_seconds is not None:
        limits["MaxRuntimeInSeconds"] = search.max_runtime_seconds
    config: Request = {
        "Strategy": search.strategy,
        "HyperParameterTuningJobObjective": {"Type": search.goal, "MetricName": search.objective},
        "ResourceLimits": limits,
        "ParameterRanges": _ranges(search.ranges),
        # Hyperband stops trials by a rule of its own, and the API takes no other beside it.
        "TrainingJobEarlyStoppingType": "Off" if hyperband else search.early_stopping,
    }
    if hyperband:
        resources = {"MinResource": search.hyperband.min_epochs, "MaxResource": search.hyperband.max_epochs}
        config["StrategyConfig"] = {"HyperbandStrategyConfig": resources}
    if ends := _ends(search):
        config["TuningJobCompletionCriteria"] = ends
    if search.seed is not None:
        config["RandomSeed"] = search.seed
    return config


def _ends(search: Search) -> Request:
    ends: Request = {}
    if search.end.target is not None:
        ends["TargetObjectiveMetricValue"] = search.end.target
    if search.end.trials_without_improvement is not None:
        ends["BestObjectiveNotImproving"] = {
            "MaxNumberOfTrainingJobsNotImproving": search.end.trials_without_improvement
        }
    if search.end.converged:
        ends["ConvergenceDetected"] = {"CompleteOnConvergence": "Enabled"}
    return ends


def _ranges(ranges: Mapping[str, Range]) -> Request:
    """Write the ranges as the API has them, all three kinds, each value as text."""
    found: Request = {f"{kind}ParameterRanges": [] for kind in ("Continuous", "Integer", "Categorical")}
    for name, each in ranges.items():
        if each.categorical is not None:
            values = [json.dumps(value) for value in each.categorical]
            found["CategoricalParameterRanges"].append({"Name": name, "Values": values})
        else:
            kind, ends = ("Continuous", each.continuous) if each.continuous else ("Integer", each.integer)
            low, high = map(str, ends or ())
            interval = {"Name": name, "MinValue": low, "MaxValue": high, "ScalingType": each.scale}
            found[f"{kind}ParameterRanges"].append(interval)
    return found


def _definition(training: Request) -> Request:
    definition = {key: training[key] for key in _SHARED if key in training}
    definition["StaticHyperParameters"] = training["HyperParameters"]
    definition["Environment"] = PROGRAM | training.get("Environment", {})
    return definition


def trial(request: Request, name: str, values: Mapping[str, str]) -> Request:
    """Build the CreateTrainingJob request of one trial; `values` are what is searched, as texts."""
    definition = request["TrainingJobDefinition"]
    training = {key: definition[key] for key in _SHARED if key in definition}
    training["TrainingJobName"] = name
    training["Environment"] = dict(definition.get("Environment", {}))
    training["HyperParameters"] = {
        **definition.get("StaticHyperParameters", {}),
        **values,
        # As the platform tells a trial; the toolkit takes it out.
        "_tuning_objective_metric": objective(request).metric,
    }
    return requests.validate("CreateTrainingJob", training)


# ── what the API's model does not say ─────────────────────────────────────────────────────────────────


def check(request: Request) -> Request:
    """Check a request against the API's model and the trainer's hyperparameters, and return it.

    Raises SettingsError naming everything that is wrong, before anything is started.
    """
    requests.validate(OPERATION, request)
    faults = [*_shape_faults(request)]
    if not faults:
        try:
            rules = (_objective_faults, _strategy_faults, _range_faults)
            faults = [fault for rule in rules for fault in rule(request)]
        except ValueError as error:  # an end of an interval is no number
            faults = [str(error)]
    if faults:
        raise SettingsError(
            "\n".join(["this search cannot be carried out:", *(f"  {each}" for each in faults)])
        )
    return request


def _shape_faults(request: Request) -> Iterator[str]:
    for key in ("TrainingJobDefinitions", "Autotune"):
        if key in request:
            yield f"{key} is not known here: one TrainingJobDefinition with its ranges is"
    if "TrainingJobDefinition" not in request:
        yield "TrainingJobDefinition is missing"
    for key in ("HyperParameterTuningJobObjective", "ParameterRanges"):
        if key not in request["HyperParameterTuningJobConfig"]:
            yield f"HyperParameterTuningJobConfig.{key} is missing"


def _objective_faults(request: Request) -> Iterator[str]:
    metric = objective(request).metric
    definitions = request["TrainingJobDefinition"]["AlgorithmSpecification"].get("MetricDefinitions", [])
    known = [definition["Name"] for definition in definitions]
    if metric not in known:
        yield f"objective {metric!r} is not a metric of the training job: it has {', '.join(known) or 'none'}"
    for definition in definitions:
        yield from _regex_faults(definition["Name"], definition["Regex"])


def _regex_faults(metric: str, regex: str) -> Iterator[str]:
    try:
        groups = re.compile(regex).groups
    except re.error as error:
        yield f"metric {metric!r}: {regex!r} is not a regular expression: {error}"
        return
    if groups != 1:
        yield f"metric {metric!r}: {regex!r} must have one group, around the value; it has {groups}"


def _strategy_faults(request: Request) -> Iterator[str]:
    settings = request["HyperParameterTuningJobConfig"]
    if (parallel := settings["ResourceLimits"]["MaxParallelTrainingJobs"]) > PARALLEL_LIMIT:
        yield f"MaxParallelTrainingJobs is {parallel}: AWS runs up to {PARALLEL_LIMIT} trials at a time"
    intervals = [each.name for each in search_space.entries(request) if isinstance(each, Interval)]
    if settings["Strategy"] == "Grid" and intervals:
        yield f"strategy Grid takes categorical ranges only, not {', '.join(intervals)}"
    if settings["Strategy"] != "Grid" and "MaxNumberOfTrainingJobs" not in settings["ResourceLimits"]:
        yield "ResourceLimits.MaxNumberOfTrainingJobs is missing: without it the search would not end"
    if settings["Strategy"] == "Hyperband":
        if settings.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            yield "strategy Hyperband stops trials itself: TrainingJobEarlyStoppingType must be Off"
        resources = settings.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        if not resources.get("MinResource", 1) <= resources.get("MaxResource", 1):
            yield "Hyperband's MinResource is above its MaxResource"


def _range_faults(request: Request) -> Iterator[str]:
    if request["HyperParameterTuningJobConfig"]["ParameterRanges"].get("AutoParameters"):
        yield "AutoParameters is not known here: say the ranges"
    ranges = search_space.entries(request)
    if not ranges:
        yield "ParameterRanges names no hyperparameter to search"
    static = request["TrainingJobDefinition"].get("StaticHyperParameters", {})
    names = [each.name for each in ranges]
    for name in sorted({name for name in names if names.count(name) > 1 or name in static}):
        yield f"{name} stands there twice"
    yield from hyperparameter_check.faults(static)
    for each in ranges:
        faults = _interval_faults(each) if isinstance(each, Interval) else _choice_faults(each)
        yield from dict.fromkeys(faults)


def _interval_faults(interval: Interval) -> Iterator[str]:
    name, low, high = interval.name, interval.low, interval.high
    if not -math.inf < low < high < math.inf:
        yield f"{name}: there is nothing to search from {low} to {high}"
        return
    if interval.scale == "Logarithmic" and low <= 0:
        yield f"{name}: a logarithmic range begins above 0, not at {low}"
    if interval.reverse and (interval.integer or low < 0 or high >= 1):
        yield f"{name}: a reverse logarithmic range is continuous, from 0 and below 1"
    ends = [low, high] if interval.integer else [low, low + (high - low) / 3, high]
    for end in ends:
        yield from hyperparameter_check.faults({name: str(end)})


def _choice_faults(choices: Choices) -> Iterator[str]:
    if len(set(choices.values)) < len(choices.values):
        yield f"{choices.name} lists a value twice"
    for value in choices.values:
        yield from hyperparameter_check.faults({choices.name: value})
