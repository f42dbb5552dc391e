"""What the project's jobs and endpoints have logged.

Called by `inventory`, `sagemaker_things` and `aws_endpoint`.

SageMaker makes the log groups without tags: a group for each endpoint, and one for all jobs of a kind.
"""

from collections.abc import Iterator

from launcher.account import Account
from launcher.calls import Call
from launcher.desired import tag_map
from launcher.tagged import Tagged
from launcher.things import Thing

ENDPOINTS = "/aws/sagemaker/Endpoints/"
# By the resource type in a job's ARN.
_OF_JOBS = {
    "training-job": "/aws/sagemaker/TrainingJobs",
    "processing-job": "/aws/sagemaker/ProcessingJobs",
    "transform-job": "/aws/sagemaker/TransformJobs",
}
ABSENT = ("ResourceNotFoundException",)


def claim(account: Account, endpoint: str) -> Call:
    """Return what tags an endpoint's log group: once the endpoint is gone nothing else says whose it is."""
    arn = account.arn("logs", f"log-group:{ENDPOINTS}{endpoint}")
    return Call("logs", "TagResource", {"resourceArn": arn, "tags": tag_map(account.tags)})


def groups(tagged: Tagged) -> Iterator[Thing]:
    """Find the log groups of endpoints, and of those that are gone and were claimed or are known by name."""
    own = {each["EndpointName"] for each in tagged.endpoints}
    there = {each["EndpointName"] for each in tagged.all_endpoints}
    for group in tagged.all("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=ENDPOINTS):
        name = group["logGroupName"]
        endpoint = name.removeprefix(ENDPOINTS)
        is_known = endpoint in own or (tagged.account.owns(endpoint) and endpoint not in there)
        arn = tagged.account.arn("logs", f"log-group:{name}")
        ask = Call("logs", "ListTagsForResource", {"resourceArn": arn})
        if is_known or tagged.own(arn, ask, ABSENT, "tags"):
            yield Thing("log group", name, (Call("logs", "DeleteLogGroup", {"logGroupName": name}),))


def streams(tagged: Tagged) -> Iterator[Thing]:
    """Find the logs of jobs, those that have ended among them."""
    for arn in sorted(tagged.arns):
        kind, _, job = arn.split(":", 5)[5].partition("/")
        if group := _OF_JOBS.get(kind):
            listed = Call(
                "logs", "DescribeLogStreams", {"logGroupName": group, "logStreamNamePrefix": f"{job}/"}
            )
            answer = listed.ask(tagged.account, ABSENT) or {"logStreams": []}
            for stream in answer["logStreams"]:  # a job has one for each host: they fit a page
                request = {"logGroupName": group, "logStreamName": stream["logStreamName"]}
                yield Thing("log", stream["logStreamName"], (Call("logs", "DeleteLogStream", request),))
