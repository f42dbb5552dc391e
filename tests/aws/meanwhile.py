"""What happens by itself in an account meanwhile, and does not in moto's: trials, output of jobs, answers.

Shared by test_whole_life.py and test_notebook_on_aws.py.
"""

from pathlib import Path

import boto3
from cloud import Answer, Call, Cloud
from small_endpoint import TOP, SmallEndpoint

from launcher.s3 import Prefix

MODEL = Path(__file__).parents[1] / "golden/two-breeds.tar.gz"


def a_trial(cloud: Cloud) -> None:
    """Moto lists no trials of a search and no prices: one that has learned something, for nothing."""
    trial = {
        "TrainingJobName": "dogs-search-001-abcd",
        "TrainingJobArn": "arn:aws:sagemaker:eu-central-1:123456789012:training-job/dogs-search-001-abcd",
        "CreationTime": 1_795_000_000,
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": {"learning-rate": "0.01", "batch-size": "32", "epochs": "3"},
        "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "validation:accuracy", "Value": 0.86},
    }
    listed = Answer({"TrainingJobSummaries": [trial]})
    cloud.replies |= {
        "sagemaker:ListTrainingJobsForHyperParameterTuningJob": lambda _: listed,
        "pricing:GetProducts": lambda _: Answer({"PriceList": []}),
    }


def answering(cloud: Cloud, *names: str) -> None:
    """Answer for endpoints, or variants of them, until this process ends."""
    for name in names:
        cloud.endpoints[name] = SmallEndpoint().__enter__().url


def serving(cloud: Cloud) -> None:
    """Let every variant of an endpoint that is made answer, until this process ends."""
    otherwise = cloud.replies["sagemaker:CreateEndpoint"]

    def create(call: Call) -> Answer | None:
        name, config = (call.parameters[key] for key in ("EndpointName", "EndpointConfigName"))
        made = boto3.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
        answering(cloud, *(f"{name}/{variant['VariantName']}" for variant in made["ProductionVariants"]))
        return otherwise(call)

    cloud.replies["sagemaker:CreateEndpoint"] = create


def jobs_that_leave(cloud: Cloud, output: Path, model: Path = MODEL) -> None:
    """Let training jobs leave two archives, and transforms an answer to each picture."""

    def train(call: Call) -> None:
        name, uri = call.parameters["TrainingJobName"], call.parameters["OutputDataConfig"]["S3OutputPath"]
        place = Prefix(f"{uri}/{name}/output", boto3.client("s3"))
        place.write("model.tar.gz", model.read_bytes(), {})
        place.write("output.tar.gz", output.read_bytes(), {})

    def transform(call: Call) -> None:
        source = call.parameters["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        place = Prefix(call.parameters["TransformOutput"]["S3OutputPath"], boto3.client("s3"))
        for name in Prefix(source, place.client).files():
            place.write(f"{name}.out", f",{TOP[0]['name']},{TOP[0]['probability']}\n".encode(), {})

    cloud.replies |= {"sagemaker:CreateTrainingJob": train, "sagemaker:CreateTransformJob": transform}
