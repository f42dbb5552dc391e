"""What the requests of the SageMaker API can cost: at most, an hour, a month, and on spot instances.

Called by `arguments.show` for every --dry-run, by `scripts/costs.py` and by `charges`. Prices are those of
`prices`; what is a few cents in any case (logs, requests to S3, a few GB stored) is left out.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from launcher.clarify_requests import ANALYSIS
from launcher.errors import SettingsError
from launcher.prices import MONTH_HOURS, Prices
from launcher.requests import Request, validate

_REQUEST_SECONDS = 0.1  # what one picture is taken to cost serverless, where nothing was measured there
_DAY = 86_400  # the platform's own limit where a request has none

Operations = Sequence[tuple[str, Request]]


@dataclass(frozen=True)
class Cost:
    """What a request is charged for; dollars, None where the table has no price."""

    what: str
    detail: str
    hourly: float | None  # of one run
    hours: float | None = None  # of one run at most; None: until somebody ends it
    undisturbed: float | None = None  # hours of one run that is not interrupted, where it may be
    warm: float = 0.0  # hours in which the machines of one run wait for the next one
    runs: float = 1.0  # at most
    spot_share: float | None = None  # what spot instances usually cost of it; None: they are not
    idle: bool = False  # whether it can cost nothing while nobody asks anything
    ends: bool = False  # by itself, when its work is done, however long that takes

    @property
    def at_most(self) -> float | None:
        """Dollars for all runs to their last second; None where nothing ends them."""
        return None if self.hourly is None or self.hours is None else self.hourly * self.hours * self.runs

    @property
    def monthly(self) -> float | None:
        """Dollars for a month without an end."""
        return None if self.hourly is None else self.hourly * MONTH_HOURS

    def expected(self, minutes: float) -> float | None:
        """Dollars when each run takes so long, on spot instances at their usual share of the price."""
        if self.hourly is None:
            return None
        hours = min(minutes / 60, self.undisturbed or self.hours or math.inf) + self.warm
        return self.hourly * hours * self.runs * (self.spot_share or 1)

    @property
    def _on_spot(self) -> str:
        if not (self.spot_share and self.undisturbed and self.hourly):
            return ""
        whole = money(self.hourly * self.undisturbed * self.runs)
        return f", {whole} without interruptions, and on spot instances usually {self.spot_share:.0%} of it"

    def __str__(self) -> str:
        if self.hourly is None:
            return f"{self.what}: {self.detail}"
        if self.at_most is not None:
            return f"{self.what}: at most {money(self.at_most)}{self._on_spot}: {self.detail}"
        if self.ends:
            return f"{self.what}: {money(self.hourly)} an hour, until it has ended by itself: {self.detail}"
        idle = " at most, nothing while nobody asks" if self.idle else ""
        month = "" if self.idle or self.monthly is None else f", {money(self.monthly)} a month"
        return f"{self.what}: {money(self.hourly)} an hour{idle}{month}, until it is ended: {self.detail}"


def money(dollars: float) -> str:
    """Write an amount: cents where there are any, more digits below them."""
    return f"${dollars:,.2f}" if dollars >= 1 or not dollars else f"${dollars:.3g}"


def of(operations: Operations, prices: Prices) -> list[Cost]:
    """Return what requests can cost; those that are free by themselves are not mentioned."""
    limits = _scaling_limits(operations)
    found: list[Cost] = []
    for operation, request in operations:
        if operation == "PutObject":
            found += _shadow_endpoint(request, operations, prices)
        elif operation == "CreateEndpointConfig":
            endpoint = _endpoint(request, _scaled(operations, request, limits), prices)
            found += [endpoint, *_updates(request, endpoint, operations)]
        elif operation in _JOBS:
            found.append(_JOBS[operation](request, prices))
    return found


def lines(operations: Operations, prices: Prices) -> list[str]:
    """Say what requests can cost, and whose prices these are; nothing where nothing costs anything."""
    found = of(operations, prices)
    if not found:
        return []
    return [*(f"cost of {each}" for each in found), f"prices: {prices.origin}; scripts/costs.py --refresh"]


# ── what ends by itself ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Machines:
    """Instances that run together."""

    type: str
    count: int
    volume_gb: float = 0

    def hourly(self, prices: Prices) -> float | None:
        """Dollars an hour, with their disks; None for a type that the table does not have."""
        price = prices.instance_hours.get(self.type)
        if price is None:
            return None
        return self.count * (price + self.volume_gb * prices.volume_gb_month / MONTH_HOURS)

    def shown(self, prices: Prices) -> str:
        """Name them with what one costs, or what to do about a price that is not known."""
        price = prices.instance_hours.get(self.type)
        if price is None:
            return (
                f"what {self.type} costs is not in config/prices.toml: "
                f"scripts/costs.py --refresh --instance-type {self.type}"
            )
        disk = f" with {self.volume_gb:g} GB" if self.volume_gb else ""
        return f"{self.count} × {self.type}{disk} at ${price:.4g} an hour"


def _training_machines(resources: Mapping[str, Any]) -> _Machines:
    return _Machines(
        resources["InstanceType"], resources.get("InstanceCount", 1), resources.get("VolumeSizeInGB", 0)
    )


def _training(request: Request, prices: Prices) -> Cost:
    """The platform ends a job at its limit, on spot instances when it has waited and run so long."""
    machines = _training_machines(request["ResourceConfig"])
    limits, spot = request.get("StoppingCondition", {}), request.get("EnableManagedSpotTraining", False)
    run = limits.get("MaxRuntimeInSeconds", _DAY)
    seconds = limits.get("MaxWaitTimeInSeconds", run) if spot else run
    warm = request["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0)
    seconds += warm
    return Cost(
        f"training job {request.get('TrainingJobName', '')}".rstrip(),
        f"{machines.shown(prices)}, {_time(seconds)} at most",
        machines.hourly(prices),
        hours=seconds / 3600,
        undisturbed=run / 3600,
        warm=warm / 3600,
        spot_share=prices.spot_share if spot else None,
    )


def _tuning(request: Request, prices: Prices) -> Cost:
    """Each trial is a training job; a limit of the whole search ends those that still run."""
    one = _training(request["TrainingJobDefinition"], prices)
    config = request["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    trials = limits.get("MaxNumberOfTrainingJobs") or _combinations(config["ParameterRanges"])
    runs, detail = float(trials), f"{trials} trials of {one.detail}"
    if one.hours and (seconds := limits.get("MaxRuntimeInSeconds")):
        together = limits["MaxParallelTrainingJobs"] * seconds / 3600
        runs = min(runs, together / one.hours)
        detail += f", {_time(seconds)} for the whole search"
    return replace(
        one,
        what=f"search {request['HyperParameterTuningJobName']}",
        detail=detail,
        runs=runs,
        warm=one.warm * min(1, limits["MaxParallelTrainingJobs"] / runs),  # the next trial takes them
    )


def _combinations(ranges: Mapping[str, Any]) -> int:
    """Of a grid, which has no other number of trials."""
    return math.prod(len(each["Values"]) for each in ranges.get("CategoricalParameterRanges", []))


def _transform(request: Request, prices: Prices) -> Cost:
    """A transform has no limit of its own: it runs as long as its input lasts."""
    resources = request["TransformResources"]
    machines = _Machines(resources["InstanceType"], resources["InstanceCount"])
    return Cost(
        f"transform {request['TransformJobName']}",
        machines.shown(prices),
        machines.hourly(prices),
        ends=True,
    )


def _processing(request: Request, prices: Prices) -> Cost:
    machines = _training_machines(request["ProcessingResources"]["ClusterConfig"])
    seconds = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DAY)
    return Cost(
        f"processing job {request['ProcessingJobName']}",
        f"{machines.shown(prices)}, {_time(seconds)} at most",
        machines.hourly(prices),
        hours=seconds / 3600,
    )


def _shadow_endpoint(request: Request, operations: Operations, prices: Prices) -> list[Cost]:
    """What Clarify starts by itself to ask a model, as its configuration says: while its job runs at most."""
    if not request["Key"].endswith(f"/{ANALYSIS}"):
        return []
    predictor = json.loads(request["Body"])["predictor"]
    machines = _Machines(predictor["instance_type"], predictor["initial_instance_count"])
    jobs = [_processing(each, prices) for name, each in operations if name == "CreateProcessingJob"]
    hours = max((job.hours or 0 for job in jobs), default=_DAY / 3600)
    detail = f"{machines.shown(prices)}, as long as the job"
    return [Cost("the job's own endpoint", detail, machines.hourly(prices), hours=hours)]


_JOBS = {
    "CreateTrainingJob": _training,
    "CreateHyperParameterTuningJob": _tuning,
    "CreateTransformJob": _transform,
    "CreateProcessingJob": _processing,
}


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h" if seconds >= 3600 else f"{seconds / 60:.3g} min"


# ── what runs until somebody ends it ──────────────────────────────────────────────────────────────────


class _Limits(NamedTuple):
    """Between how many instances a variant is scaled: the highest that any of its rules has for each."""

    least: int
    most: int


def _endpoint(request: Request, limits: Mapping[str, _Limits], prices: Prices) -> Cost:
    """All variants together, each at the most instances that it is scaled to; shadow variants count too."""
    variants = [*request["ProductionVariants"], *request.get("ShadowProductionVariants", [])]
    parts = [_variant(each, limits.get(each["VariantName"]), prices) for each in variants]
    unknown = [part.detail for part in parts if part.hourly is None]
    return Cost(
        f"endpoint with {request['EndpointConfigName']}",
        unknown[0] if unknown else "; ".join(f"{part.what}: {part.detail}" for part in parts),
        None if unknown else sum(part.hourly or 0 for part in parts),
        idle=all(part.idle for part in parts),
    )


def _updates(config: Request, endpoint: Cost, operations: Operations) -> Iterator[Cost]:
    """What the old instances cost beside the new ones, until an update has shifted all traffic and waited.

    How many there are is not in the request: as many as there will be. An update without a shift of its own
    replaces them as soon as the new ones answer, for which there is no limit in the request either.
    """
    for operation, request in operations:
        policy = request.get("DeploymentConfig", {}).get("BlueGreenUpdatePolicy", {})
        seconds = policy.get("MaximumExecutionTimeoutInSeconds")
        if operation != "UpdateEndpoint" or not seconds:
            continue
        if request["EndpointConfigName"] == config["EndpointConfigName"]:
            beside = f"the old instances beside the new, taken to be as many, {_time(seconds)} at most"
            yield replace(
                endpoint,
                what=f"an update of {request['EndpointName']}",
                detail=endpoint.detail if endpoint.hourly is None else f"{beside}: {endpoint.detail}",
                hours=seconds / 3600,
            )


def _variant(variant: Mapping[str, Any], limits: _Limits | None, prices: Prices) -> Cost:
    name = variant["VariantName"]
    if serverless := variant.get("ServerlessConfig"):
        return _serverless(name, serverless, prices)
    machines = _Machines(
        variant["InstanceType"],
        # It may begin with more than the limit.
        max(limits.most if limits else 0, variant.get("InitialInstanceCount", 1)),
        variant.get("VolumeSizeInGB", 0),
    )
    scaled = " at most" if limits else ""
    idle = limits is not None and limits.least == 0
    return Cost(name, machines.shown(prices) + scaled, machines.hourly(prices), idle=idle)


def _serverless(name: str, config: Mapping[str, int], prices: Prices) -> Cost:
    """Memory by the second, while requests are answered; at most as many as may be at a time."""
    gigabytes, together = config["MemorySizeInMB"] / 1024, config["MaxConcurrency"]
    second = gigabytes * prices.serverless_gb_second
    thousand = money(1000 * _REQUEST_SECONDS * second)
    detail = f"serverless, {gigabytes:g} GB: {thousand} for a thousand requests of {_REQUEST_SECONDS} s each"
    return Cost(name, f"{detail}, {together} at a time at most", second * together * 3600, idle=True)


def _scaling_limits(operations: Operations) -> dict[tuple[str, str], _Limits]:
    """Return between what an endpoint's variants may be scaled, by their load or by the clock."""
    found: dict[tuple[str, str], _Limits] = {}
    for operation, request in operations:
        if operation in {"RegisterScalableTarget", "PutScheduledAction"}:
            _, endpoint, _, variant = request["ResourceId"].split("/")
            action = request.get("ScalableTargetAction", request)
            known = found.get((endpoint, variant), _Limits(0, 0))
            found[endpoint, variant] = _Limits(
                max(known.least, action.get("MinCapacity", 0)), max(known.most, action.get("MaxCapacity", 0))
            )
    return found


def _scaled(
    operations: Operations, config: Request, limits: Mapping[tuple[str, str], _Limits]
) -> dict[str, _Limits]:
    """Return the limits of the variants of a configuration, by way of the endpoint that has it."""
    endpoints = {
        request["EndpointName"]
        for operation, request in operations
        if operation in {"CreateEndpoint", "UpdateEndpoint"}
        and request["EndpointConfigName"] == config["EndpointConfigName"]
    }
    return {variant: limit for (endpoint, variant), limit in limits.items() if endpoint in endpoints}


# ── requests that were printed ────────────────────────────────────────────────────────────────────────


_BY_KEY = {
    "TrainingJobName": "CreateTrainingJob",
    "HyperParameterTuningJobName": "CreateHyperParameterTuningJob",
    "ProductionVariants": "CreateEndpointConfig",
    "TransformJobName": "CreateTransformJob",
    "ProcessingJobName": "CreateProcessingJob",
}
_OPERATION = r"[A-Z][A-Za-z]+"


def operations_of(content: Request) -> list[tuple[str, Request]]:
    """Return what a --dry-run has printed: one request as it is, or several by their operations' names."""
    alone = [operation for key, operation in _BY_KEY.items() if key in content]
    if alone:
        return [(alone[0], content)]
    each_as_list = ((name, each if isinstance(each, list) else [each]) for name, each in content.items())
    return [(name, request) for name, several in each_as_list for request in several]


def check(operations: Operations) -> None:
    """Raise SettingsError for what is no request, or not all of one."""
    strange = [
        name for name, each in operations if not (re.fullmatch(_OPERATION, name) and isinstance(each, dict))
    ]
    if strange or not operations:
        raise SettingsError(
            f"this is no request that is known here: it has {', '.join(strange) or 'nothing'}. Known is what "
            "a --dry-run prints: one request of a job, a search, a transform or an endpoint's configuration, "
            "or several by their operations' names"
        )
    for operation, request in operations:
        if operation in _BY_KEY.values():
            validate(operation, request)
