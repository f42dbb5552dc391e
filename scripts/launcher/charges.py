"""What is being charged in the account: asked of AWS. Called by `scripts/costs.py` and `aws_training`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher import aws, costs, prices
from launcher.account import Account
from launcher.costs import Cost
from launcher.prices import Prices
from launcher.requests import Request


@dataclass(frozen=True)
class Spent:
    """What a training job was charged for: seconds of each of its instances."""

    training: int
    billable: int
    dollars: (
        float | None
    )  # on demand, which the billable seconds are counted for; None: the price is not known

    @property
    def saved(self) -> float:
        """The share that spot instances saved."""
        return 1 - self.billable / self.training if self.training else 0.0

    def __str__(self) -> str:
        cost = "" if self.dollars is None else f", {costs.money(self.dollars)}"
        saved = f", {self.saved:.0%} saved by spot instances" if self.saved > 0 else ""
        return f"ran {self.training:,} s, billed {self.billable:,} s{cost}{saved}"


def spent(description: Mapping[str, Any], region: str) -> Spent | None:
    """Return what DescribeTrainingJob says was charged; None while it does not say."""
    if "BillableTimeInSeconds" not in description:
        return None
    resources, billable = description["ResourceConfig"], description["BillableTimeInSeconds"]
    price, _ = prices.known(resources["InstanceType"], region)
    hours = resources.get("InstanceCount", 1) * billable / 3600
    training = description.get("TrainingTimeInSeconds", billable)
    return Spent(training, billable, None if price is None else price * hours)


def job_request(name: str) -> Request:
    """Return the DescribeTrainingJob request of `of_job`."""
    return {"TrainingJobName": name}


def endpoint_request(name: str) -> Request:
    """Return the DescribeEndpoint request of `of_endpoint`."""
    return {"EndpointName": name}


def of_job(account: Account, name: str) -> str:
    """Say what a training job has cost, or that it is not over; SettingsError where there is none."""
    sagemaker = account.client("sagemaker")
    with aws.explained(missing=f"there is no training job {name} in {account.region}"):
        description = sagemaker.describe_training_job(**job_request(name))
    status = description["TrainingJobStatus"]
    found = spent(description, account.region)
    return f"{name} ({status}): {found or 'what it is charged for is told when it has ended'}"


def of_endpoint(account: Account, name: str, table: Prices) -> list[Cost]:
    """Return what an endpoint costs with the instances that it has now, and what an update adds meanwhile.

    Raises SettingsError where there is none.
    """
    sagemaker = account.client("sagemaker")
    with aws.explained(missing=f"there is no endpoint {name} in {account.region}"):
        endpoint = sagemaker.describe_endpoint(**endpoint_request(name))
        fleets = [endpoint, *([endpoint["PendingDeploymentSummary"]] if _is_shifting(endpoint) else [])]
        configs = [
            sagemaker.describe_endpoint_config(EndpointConfigName=each["EndpointConfigName"])
            for each in fleets
        ]
    sized = [("CreateEndpointConfig", _with_instances(*each)) for each in zip(configs, fleets, strict=True)]
    now, *new = costs.of(sized, table)
    return [now, *(replace(each, what=f"{each.what}, beside it while an update lasts") for each in new)]


def _is_shifting(endpoint: Mapping[str, Any]) -> bool:
    """Tell whether new instances start beside those that answer: none do while an endpoint is made."""
    return endpoint["EndpointStatus"] != "Creating" and "PendingDeploymentSummary" in endpoint


def _with_instances(config: Request, fleet: Mapping[str, Any]) -> Request:
    """Return a configuration whose variants have the instances that run."""
    kinds = ("ProductionVariants", "ShadowProductionVariants")
    now = {
        each["VariantName"]: max(each["CurrentInstanceCount"], each.get("DesiredInstanceCount", 0))
        for kind in kinds
        for each in fleet.get(kind, [])
        if "CurrentInstanceCount" in each
    }
    return config | {
        kind: [_sized(variant, now.get(variant["VariantName"])) for variant in config[kind]]
        for kind in kinds
        if kind in config
    }


def _sized(variant: Request, instances: int | None) -> Request:
    return variant if instances is None else variant | {"InitialInstanceCount": instances}
