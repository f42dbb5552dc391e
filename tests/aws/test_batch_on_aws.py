"""A batch transform job on SageMaker, against a server that speaks its API."""

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
NAME = "dogs-batch"


@pytest.fixture
def bucket(cloud: Cloud) -> Any:  # it is where the client goes
    client = boto3.client("s3")
    place = {"LocationConstraint": client.meta.region_name}
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    return client


def transform(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "scripts/batch_transform.py"), "--backend", "aws"]
    settings = ["--settings", str(ROOT / "tests/golden/settings.toml")]
    return subprocess.Popen(
        [*command, *arguments, *settings], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def start(*more: str) -> subprocess.Popen[str]:
    source = [f"s3://{BUCKET}/data/photos", "--job-name", NAME, "--model", "s3://models/model.tar.gz"]
    return transform(*source, *more)


def models() -> list[str]:
    listed = boto3.client("sagemaker").list_models()["Models"]
    return [each["ModelName"] for each in listed]


@pytest.mark.parametrize("place", ["", "data/photos/"])
def test_the_answers_are_joined_with_the_pictures_names_and_nothing_else_is_left(
    bucket: Any, cloud: Cloud, place: str
) -> None:
    JobLife(cloud, "TransformJob", NAME)
    for name, answer in {"b/2.jpg": b"bad_request,no picture\n", "a 1.jpg": b",Akita,0.9\n"}.items():
        bucket.put_object(Bucket=BUCKET, Key=f"predictions/{NAME}/{place}{name}.out", Body=answer)

    done = start()
    out, err = done.communicate(timeout=120)

    assert done.returncode == 1, err
    assert out.splitlines()[-1] == f"s3://{BUCKET}/predictions/{NAME}/predictions.csv"
    joined = bucket.get_object(Bucket=BUCKET, Key=f"predictions/{NAME}/predictions.csv")["Body"].read()
    assert joined.decode().splitlines() == [
        "file,error,breed_1,probability_1",
        "a 1.jpg,,Akita,0.9",
        "b/2.jpg,bad_request: no picture",
    ]
    assert f"{NAME}: InProgress" in err
    assert models() == []


def test_a_job_that_fails_says_its_reason_first_then_its_log(cloud: Cloud) -> None:
    JobLife(
        cloud, "TransformJob", NAME, ending="Failed", reason="ClientError: See job logs for more information"
    )
    logs = boto3.client("logs")
    group, stream = "/aws/sagemaker/TransformJobs", f"{NAME}/i-1"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    logs.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": STARTED * 1000 + 1, "message": "serve: the model cannot be served"}],
    )

    done = start()
    _, err = done.communicate(timeout=120)

    assert done.returncode == 1
    said = err[err.index("error: ") :].splitlines()
    assert said[0] == "error: ClientError: See job logs for more information"
    assert said[1] == f"the batch transform job {NAME}: Failed"
    assert said[-1] == "serve: the model cannot be served"
    assert models() == []


def test_after_ctrl_c_the_job_runs_on_and_is_attached_to_and_stopped(bucket: Any, cloud: Cloud) -> None:
    job = JobLife(cloud, "TransformJob", NAME, looks=10_000)
    running = start()
    assert running.stderr is not None
    for line in running.stderr:
        if "InProgress" in line:
            break
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130
    back = f"--backend aws --attach {NAME} follows it, --stop {NAME} stops it"
    assert f"the batch transform job runs on: {back}" in err
    assert models() == [NAME]

    stopped = transform("--stop", NAME)
    assert stopped.wait(60) == 0
    attached = transform("--attach", NAME)
    _, err = attached.communicate(timeout=120)

    assert {"sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"} <= cloud.actions
    assert job.ending == "Stopped"
    assert attached.returncode == 1
    assert f"the batch transform job {NAME}: Stopped" in err
    assert models() == []


def test_a_name_that_is_taken_or_not_there_is_said_and_a_refused_job_leaves_no_model(cloud: Cloud) -> None:
    job = JobLife(cloud, "TransformJob", NAME)
    missing = transform("--attach", NAME)
    _, err = missing.communicate(timeout=120)
    assert (missing.returncode, err.splitlines()[0]) == (
        2,
        f"error: there is no batch transform job {NAME} in this account and region",
    )
    cloud.replies["sagemaker:CreateTransformJob"] = lambda _: error("ResourceLimitExceeded", "no instances")
    refused = start()
    _, err = refused.communicate(timeout=120)
    assert refused.returncode == 2
    assert "a quota of the account is in the way: no instances" in err
    with pytest.raises(ClientError):
        boto3.client("sagemaker").describe_model(ModelName=NAME)

    job.request, job.looks = {"TransformJobName": NAME}, 0
    cloud.replies["sagemaker:CreateTransformJob"] = lambda _: error("ResourceInUse", "there is one")
    taken = start()
    _, err = taken.communicate(timeout=120)
    assert taken.returncode == 2
    assert f"there is a batch transform job {NAME} already: --backend aws --attach {NAME} follows it" in err
    assert models() == []


def test_photographs_of_this_machine_are_to_be_brought_to_s3_first(cloud: Cloud) -> None:
    done = transform("data/photos")
    _, err = done.communicate(timeout=120)

    assert done.returncode == 2
    assert "data/photos is not in S3: `prepare_data.py --data … --upload` brings photographs there" in err
    assert not cloud.asked("sagemaker:CreateModel")
