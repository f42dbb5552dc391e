"""A SageMaker Clarify job about photographs, against a server that speaks SageMaker's API.

Clarify itself runs on AWS alone. What the serving image answers to its requests is in test_options.py.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cloud import Cloud, error
from job_life import STARTED, JobLife

ROOT = Path(__file__).parents[2]
BUCKET = "dog-breeds-123456789012-eu-central-1"
NAME = "dogs-why"
PLACE = f"explanations/{NAME}"
LOG = "/aws/sagemaker/ProcessingJobs"
FOUND = {
    "report.pdf": b"%PDF",
    "analysis.json": b"{}",
    "explanations_shap/images/ui_shap.jpeg": b"\xff\xd8\xff",
}


@pytest.fixture
def bucket(cloud: Cloud) -> Any:  # it is where the client goes
    client = boto3.client("s3")
    place = {"LocationConstraint": client.meta.region_name}
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    return client


def explain(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, ROOT / "scripts/explain.py", "--backend", "aws"]
    settings = ["--settings", ROOT / "tests/golden/settings.toml"]
    return subprocess.Popen(
        [*command, *arguments, *settings], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def start(*more: str | Path) -> subprocess.Popen[str]:
    photographs = [ROOT / "docs/images/ui.png", "--format", "png"]
    return explain(
        *photographs, "--job-name", NAME, "--model", ROOT / "tests/golden/two-breeds.tar.gz", *more
    )


def endpoint(name: str) -> None:
    """Make one without a tag, as Clarify may."""
    sagemaker = boto3.client("sagemaker")
    variant = {
        "VariantName": "all",
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    role = "arn:aws:iam::123456789012:role/dog-breeds-execution"
    if "m" not in models():
        sagemaker.create_model(ModelName="m", PrimaryContainer={"Image": "i"}, ExecutionRoleArn=role)
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


def models() -> list[str]:
    return [each["ModelName"] for each in boto3.client("sagemaker").list_models()["Models"]]


def test_photographs_are_sent_and_what_clarify_has_found_is_fetched_and_nothing_else_is_left(
    bucket: Any, cloud: Cloud, tmp_path: Path
) -> None:
    job = JobLife(cloud, "ProcessingJob", NAME)
    for name, content in FOUND.items():
        bucket.put_object(Bucket=BUCKET, Key=f"{PLACE}/result/{name}", Body=content)

    done = start("--output", tmp_path / "why")
    out, err = done.communicate(timeout=240)

    assert done.returncode == 0, err
    assert out.splitlines()[-1] == str(tmp_path / "why")
    assert {name: (tmp_path / "why" / name).read_bytes() for name in FOUND} == FOUND
    assert "1 heat maps" in err
    assert str(tmp_path / "why/report.pdf") in err
    sent = bucket.get_object(Bucket=BUCKET, Key=f"{PLACE}/photographs/ui.png")["Body"].read()
    assert sent == (ROOT / "docs/images/ui.png").read_bytes()
    analysis = json.load(bucket.get_object(Bucket=BUCKET, Key=f"{PLACE}/analysis_config.json")["Body"])
    assert analysis["predictor"]["model_name"] == NAME
    assert analysis["predictor"]["label_headers"] == ["Affenpinscher", "Afghan hound"]
    assert job.request["Tags"] == [{"Key": "project", "Value": "dog-breeds"}]
    assert models() == []


def test_a_model_in_s3_is_asked_for_its_breeds_and_one_that_is_not_there_is_said(
    bucket: Any, cloud: Cloud, tmp_path: Path
) -> None:
    JobLife(cloud, "ProcessingJob", NAME, looks=0)
    bucket.upload_file(str(ROOT / "tests/golden/two-breeds.tar.gz"), BUCKET, "model.tar.gz")
    bucket.put_object(Bucket=BUCKET, Key=f"{PLACE}/result/report.pdf", Body=b"%PDF")
    photographs = [f"s3://{BUCKET}/photos", "--job-name", NAME]

    done = explain(*photographs, "--model", f"s3://{BUCKET}/model.tar.gz", "--output", tmp_path / "why")
    missing = explain(*photographs, "--model", f"s3://{BUCKET}/none.tar.gz")

    assert (done.wait(240), missing.wait(240)) == (0, 2)
    assert missing.stderr is not None
    assert missing.stderr.read() == f"error: there is no model at s3://{BUCKET}/none.tar.gz\n"
    (request,) = cloud.asked("sagemaker:CreateProcessingJob")
    assert request["ProcessingInputs"][1]["S3Input"]["S3Uri"] == f"s3://{BUCKET}/photos"


@pytest.mark.usefixtures("bucket")
def test_the_log_is_shown_and_of_a_job_that_fails_its_reason_first(cloud: Cloud) -> None:
    JobLife(cloud, "ProcessingJob", NAME, ending="Failed", reason="AlgorithmError: no endpoint")
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName=LOG)
    logs.create_log_stream(logGroupName=LOG, logStreamName=f"{NAME}/algo-1")
    event = {"timestamp": STARTED * 1000 + 1, "message": "Spinning up the endpoint"}
    logs.put_log_events(logGroupName=LOG, logStreamName=f"{NAME}/algo-1", logEvents=[event])
    endpoint("dog-breeds--explain-1a2b")
    endpoint("dog-breeds")

    done = start()
    _, err = done.communicate(timeout=240)

    assert done.returncode == 1
    before, said = err.split("error: ")
    assert before.splitlines().count("Spinning up the endpoint") == 1
    assert said.splitlines()[:2] == ["AlgorithmError: no endpoint", f"the processing job {NAME}: Failed"]
    *_, last, left = said.splitlines()
    assert last == "Spinning up the endpoint"
    assert left.startswith("Clarify's endpoint dog-breeds--explain-1a2b is there, and costs: ")
    assert cloud.asked("sagemaker:ListEndpoints")
    assert models() == ["m"]


@pytest.mark.usefixtures("bucket")
def test_after_ctrl_c_the_job_runs_on_and_is_attached_to_and_stopped(cloud: Cloud) -> None:
    job = JobLife(cloud, "ProcessingJob", NAME, looks=10_000)
    running = start()
    assert running.stderr is not None
    for line in running.stderr:
        if "InProgress" in line:
            break
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=240)
    assert running.returncode == 130
    back = f"--backend aws --attach {NAME} follows it, --stop {NAME} stops it"
    assert f"the processing job runs on: {back}" in err
    assert models() == [NAME]

    assert explain("--stop", NAME).wait(240) == 0
    attached = explain("--attach", NAME)
    _, err = attached.communicate(timeout=240)

    assert "sagemaker:StopProcessingJob" in cloud.actions
    assert job.ending == "Stopped"
    assert attached.returncode == 1
    assert f"the processing job {NAME}: Stopped" in err
    assert models() == []


@pytest.mark.usefixtures("bucket")
def test_a_refused_job_leaves_no_model_and_one_that_found_nothing_says_so(cloud: Cloud) -> None:
    JobLife(cloud, "ProcessingJob", NAME, looks=0)
    empty = start()
    _, err = empty.communicate(timeout=240)
    assert empty.returncode == 1
    assert f"error: the job has left nothing in s3://{BUCKET}/{PLACE}/result" in err

    cloud.replies["sagemaker:CreateProcessingJob"] = lambda _: error("ResourceLimitExceeded", "no instances")
    refused = start()
    _, err = refused.communicate(timeout=240)
    assert refused.returncode == 2
    assert "a quota of the account is in the way: no instances" in err
    with pytest.raises(ClientError):
        boto3.client("sagemaker").describe_model(ModelName=NAME)
