"""All that a project has in its account, in the order in which it can be taken away.

Called by teardown.py and, for what setup_account.py makes, by `account_setup`. First goes what costs by the
hour: the jobs, the searches before the trials that they would start anew; and what would grow an endpoint
again before the endpoint. What this identity may not list is a thing that is left: the others go.
"""

from collections.abc import Iterator

from launcher import log_things, sagemaker_things, setup_things, watching_things
from launcher.account import Account
from launcher.aws_errors import DeniedError
from launcher.sagemaker_things import kept, running_jobs
from launcher.tagged import Tagged
from launcher.things import Finder, Thing

# The types of ARN that the finders look after; the records of jobs that have ended stay.
_KNOWN = {
    "sagemaker:endpoint", "sagemaker:endpoint-config", "sagemaker:model", "sagemaker:training-job",
    "sagemaker:transform-job", "sagemaker:processing-job", "sagemaker:hyper-parameter-tuning-job",
    "application-autoscaling:scalable-target", "cloudwatch:alarm", "logs:log-group", "sns:", "ecr:repository",
    "s3:", "iam:role",
}  # fmt: skip


def things(account: Account) -> Iterator[Thing]:
    """Yield what there is, with what none of the other finders knows at the end."""
    tagged = Tagged(account)
    for what, find in FINDERS.items():
        try:
            yield from find(tagged)
        except DeniedError as error:
            yield Thing(what, "that could not be listed", status=str(error), is_used=True)


def _unknown(tagged: Tagged) -> Iterator[Thing]:
    for arn in sorted(tagged.arns):
        if _type(arn) not in _KNOWN:
            yield Thing(
                "something else with the tag,", arn, status="not of these scripts' making: delete it yourself"
            )


def _type(arn: str) -> str:
    """Return the service and the kind of resource of an ARN: some services have kinds, some do not."""
    service, resource = arn.split(":")[2], arn.split(":", 5)[5]
    if service in {"s3", "sns"}:
        return f"{service}:"
    return f"{service}:{resource.replace('/', ':').partition(':')[0]}"


FINDERS: dict[str, Finder] = {
    "searches": running_jobs("search", "HyperParameterTuningJob", "list_hyper_parameter_tuning_jobs"),
    "training jobs": running_jobs("training job", "TrainingJob", "list_training_jobs"),
    "transform jobs": running_jobs("transform job", "TransformJob", "list_transform_jobs"),
    "processing jobs": running_jobs("processing job", "ProcessingJob", "list_processing_jobs"),
    "warm pools": sagemaker_things.warm_pools,
    "autoscaling": sagemaker_things.scalable_targets,
    "endpoints": sagemaker_things.endpoints,
    "endpoint configurations": kept(
        "endpoint configuration", "EndpointConfig", "list_endpoint_configs", "EndpointConfigs"
    ),
    "models": kept("model", "Model", "list_models", "Models"),
    "log groups": log_things.groups,
    "logs": log_things.streams,
    "alarms": watching_things.alarms,
    "dashboards": watching_things.dashboards,
    "topics": watching_things.topics,
    "repositories": setup_things.images,
    "buckets": setup_things.storage,
    "roles": setup_things.roles,
    "other things with the tag": _unknown,
}
