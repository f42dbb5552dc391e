"""What a project has in an account on this machine, made without its scripts: for what takes it away.

Shared by test_teardown.py, test_whole_life.py and the golden requests.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import boto3
from cloud import Answer, Call, Cloud

PHOTOGRAPHS = Path(__file__).parents[1] / "golden/dogs"

BUCKET = "dog-breeds-123456789012-eu-central-1"
OWN = [{"Key": "project", "Value": "dog-breeds"}]
FOREIGN = [{"Key": "project", "Value": "dog-breeds-2"}]
ROLE = "arn:aws:iam::123456789012:role/dog-breeds-execution"
DIMENSION = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
LOGS = "/aws/sagemaker/Endpoints/"
JOB_LOGS = "/aws/sagemaker/TrainingJobs"


def make(name: str, tags: list[dict[str, str]]) -> None:
    """Make one of each thing under a name."""
    sagemaker, logs = boto3.client("sagemaker"), boto3.client("logs")
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": "x"}, ExecutionRoleArn=ROLE, Tags=tags)
    variant = {
        "VariantName": "all",
        "ModelName": name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)
    boto3.client("application-autoscaling").register_scalable_target(
        ResourceId=f"endpoint/{name}/variant/all", MinCapacity=1, MaxCapacity=2, **DIMENSION
    )
    boto3.client("sns").create_topic(Name=name, Tags=tags)
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName=name, ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1, Tags=tags
    )
    logs.create_log_group(logGroupName=LOGS + name)
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": "x", "TrainingInputMode": "File"},
        RoleArn=ROLE,
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/training"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        Tags=tags,
    )
    logs.create_log_stream(logGroupName=JOB_LOGS, logStreamName=f"{name}/algo-1-1")


def dashboard(name: str) -> None:
    boto3.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody='{"widgets": []}')


class Jobs:
    """Jobs that run until they are stopped, which moto does not have."""

    def __init__(self, cloud: Cloud, *, warm_pool_of: str = "", **arns: str) -> None:
        """`arns` has each one's ARN by what its operations are called, such as TrainingJob."""
        self.status = dict.fromkeys(arns, "InProgress")
        self.warm_pool_of = warm_pool_of
        self._arns = arns
        for shape in {*arns, "TrainingJob"}:
            cloud.replies |= {
                f"sagemaker:List{shape}s": lambda call, shape=shape: self._listed(call, shape),
                f"sagemaker:Stop{shape}": lambda _, shape=shape: self._stopped(shape),
            }
        cloud.replies["sagemaker:UpdateTrainingJob"] = self._let_go
        cloud.replies["sagemaker:ListTags"] = self._tags

    def _listed(self, call: Call, shape: str) -> Answer:
        if "WarmPoolStatusEquals" in call.parameters:
            return Answer({"TrainingJobSummaries": [self._pool()] if self.warm_pool_of else []})
        runs = self.status.get(shape) == call.parameters.get("StatusEquals")
        found = [_summary(shape, self._arns[shape], self.status[shape])] if runs else []
        return Answer({f"{shape}Summaries": found})

    def _pool(self) -> dict[str, Any]:
        arn = job_arn("training-job", self.warm_pool_of)
        return _summary("TrainingJob", arn, "Completed") | {"WarmPoolStatus": {"Status": "Available"}}

    def _stopped(self, shape: str) -> Answer:
        self.status[shape] = "Stopped"
        return Answer({})

    def _let_go(self, call: Call) -> Answer:
        self.warm_pool_of = ""
        return Answer({"TrainingJobArn": job_arn("training-job", call.parameters["TrainingJobName"])})

    def _tags(self, call: Call) -> Answer | None:
        """Say whose a job is; what is no job of these moto knows."""
        arn = call.parameters["ResourceArn"]
        if "-job/" not in arn:
            return None
        return Answer({"Tags": FOREIGN if arn.endswith("/foreign") else OWN})


def _summary(shape: str, arn: str, status: str) -> dict[str, Any]:
    name = arn.rpartition("/")[2]
    return {
        f"{shape}Name": name,
        f"{shape}Arn": arn,
        f"{shape}Status": status,
        "CreationTime": 1_795_000_000,
    }


def job_arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:eu-central-1:123456789012:{kind}/{name}"


def much_that_runs(cloud: Cloud) -> None:
    """The project has one of each thing, as somebody else has, and jobs of all kinds run."""
    boto3.client("logs").create_log_group(logGroupName=JOB_LOGS)
    make("dog-breeds-late", OWN)
    make("somebody", FOREIGN)
    dashboard("dog-breeds")
    boto3.client("s3").create_multipart_upload(Bucket=BUCKET, Key="broke-off")
    Jobs(
        cloud,
        warm_pool_of="trained",
        HyperParameterTuningJob=job_arn("hyper-parameter-tuning-job", "search"),
        TrainingJob=job_arn("training-job", "train"),
        TransformJob=job_arn("transform-job", "transform"),
        ProcessingJob=job_arn("processing-job", "look"),
    )


def the_setup_alone(_: Cloud) -> None:
    """There is what setup_account.py makes, and nothing else."""


def an_older_copy(_: Cloud) -> None:
    """The bucket has one of the golden photographs as it is, and one that is gone here."""
    s3 = boto3.client("s3")
    kept = "test/1.Akita/1.png"
    files = {kept: (PHOTOGRAPHS / kept).read_bytes(), "train/1.Akita/gone.png": b"gone"}
    for name, content in files.items():
        s3.put_object(Bucket=BUCKET, Key=f"data/dogs/{name}", Body=content)
    known = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    manifest = json.dumps({"complete": True, "files": known})
    s3.put_object(Bucket=BUCKET, Key="data/dogs/manifest.json", Body=manifest)
