"""What the project has in SageMaker and costs money, or stands for what does. Called by `inventory`.

The records of jobs that have ended stay: AWS keeps them, they cost nothing, and they say how a model was
made.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from launcher import log_things
from launcher.calls import Call
from launcher.tagged import Tagged
from launcher.things import Finder, Thing

_GOING = {"Stopping", "Deleting"}


def running_jobs(kind: str, shape: str, listing: str) -> Finder:
    """Return what finds the jobs of a kind that run: `shape` begins the names of operations and fields."""

    def find(tagged: Tagged) -> Iterator[Thing]:
        found = [
            job
            for status in ("InProgress", "Stopping")
            for job in tagged.all("sagemaker", listing, f"{shape}Summaries", StatusEquals=status)
            if job[f"{shape}Status"] == status
        ]
        for job in found:
            if tagged.owns_in_sagemaker(job[f"{shape}Arn"]):
                yield _thing(kind, f"Stop{shape}", f"{shape}Name", job, job[f"{shape}Status"])

    return find


def warm_pools(tagged: Tagged) -> Iterator[Thing]:
    """Find the instances that wait for the next job, and cost as much as working ones."""
    for job in tagged.all(
        "sagemaker", "list_training_jobs", "TrainingJobSummaries", WarmPoolStatusEquals="Available"
    ):
        waits = job.get("WarmPoolStatus", {}).get("Status") == "Available"
        if waits and tagged.owns_in_sagemaker(job["TrainingJobArn"]):
            name = job["TrainingJobName"]
            request = {"TrainingJobName": name, "ResourceConfig": {"KeepAlivePeriodInSeconds": 0}}
            yield Thing("warm pool of", name, (Call("sagemaker", "UpdateTrainingJob", request),))


def endpoints(tagged: Tagged) -> Iterator[Thing]:
    """Find endpoints; each one's log group gets the tag first, since afterwards nothing says whose it is."""
    for each in tagged.endpoints:
        claim = log_things.claim(tagged.account, each["EndpointName"])
        found = _thing("endpoint", "DeleteEndpoint", "EndpointName", each, each["EndpointStatus"])
        yield replace(found, tried=(claim,)) if found.calls else found


def scalable_targets(tagged: Tagged) -> Iterator[Thing]:
    """Find what the number of instances follows; its policies and schedules go with it."""
    names = {each["EndpointName"] for each in tagged.endpoints}
    service = "application-autoscaling"
    for target in tagged.all(
        service, "describe_scalable_targets", "ScalableTargets", ServiceNamespace="sagemaker"
    ):
        endpoint = target["ResourceId"].split("/")[1]
        arn = target.get("ScalableTargetARN", "")
        if endpoint in names or arn in tagged.arns:
            keys = ("ServiceNamespace", "ResourceId", "ScalableDimension")
            request = {key: target[key] for key in keys}
            call = Call(service, "DeregisterScalableTarget", request)
            yield Thing("autoscaling of", f"{target['ResourceId']} {target['ScalableDimension']}", (call,))


def kept(kind: str, shape: str, listing: str, key: str) -> Finder:
    """Return what finds endpoint configurations or models: `shape` begins the names of their operations.

    What somebody else's endpoint answers with stays, and is said.
    """

    def find(tagged: Tagged) -> Iterator[Thing]:
        for each in tagged.all("sagemaker", listing, key):
            name = each[f"{shape}Name"]
            if not tagged.owns_in_sagemaker(each[f"{shape}Arn"]):
                continue
            if user := tagged.used_by_others.get((shape, name)):
                lacks = f"used by the endpoint {user}, which is not tagged as this project's"
                yield Thing(kind, name, status=lacks, is_used=True)
            else:
                yield replace(_thing(kind, f"Delete{shape}", f"{shape}Name", each), used_by="endpoint")

    return find


def _thing(kind: str, operation: str, key: str, summary: dict[str, Any], status: str = "") -> Thing:
    name = summary[key]
    if status in _GOING:
        return Thing(kind, name, status=status, is_going=True)
    return Thing(kind, name, (Call("sagemaker", operation, {key: name}),), status=status)
