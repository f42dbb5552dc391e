"""deploy.py against an account on this machine: from a model to an endpoint, and back to nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import script
from botocore.config import Config
from cloud import Answer, Call, Cloud, CutError, error, times
from endpoint_life import ACCOUNT, EndpointLife
from script import Ended

from launcher import aws
from launcher.requests import operation_shape

ROOT = Path(__file__).parents[2]
BUCKET = "dog-breeds-123456789012-eu-central-1"
MODEL = str(ROOT / "tests/golden/model.tar.gz")
LOG_GROUP = "/aws/sagemaker/Endpoints/dogs"


@pytest.fixture
def life(cloud: Cloud) -> EndpointLife:
    """Let the account's endpoints take their time, and give it the project's bucket."""
    where = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    return EndpointLife(cloud, "eu-central-1")


def command(*arguments: str) -> list[str]:
    settings = ("--settings", str(ROOT / "tests/golden/settings.toml"))
    return [sys.executable, str(ROOT / "scripts/deploy.py"), "--backend", "aws", *settings, *arguments]


def deploy(*arguments: str) -> Ended:
    return script.run("deploy", *command(*arguments)[2:])


def dogs(*arguments: str) -> Ended:
    return deploy("--name", "dogs", *arguments)


def left(cloud: Cloud, life: EndpointLife) -> list[Any]:
    """All that costs or lies about of an endpoint."""
    autoscaling = boto3.client("application-autoscaling")
    return [
        *life.moto.endpoints,
        *life.moto.endpoint_configs,
        *life.moto._models,
        *autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
        *autoscaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"],
        *autoscaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"],
        *boto3.client("cloudwatch").describe_alarms()["MetricAlarms"],
    ]


def make_parts(name: str, tags: list[dict[str, str]]) -> None:
    """Make a model and a configuration as somebody else might."""
    client = boto3.client("sagemaker")
    variant = {"VariantName": "theirs", "ModelName": name, "InstanceType": "ml.m5.large"}
    client.create_model(ModelName=name, ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/theirs", Tags=tags)
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)


def test_two_variants_are_deployed_scaled_updated_and_removed(cloud: Cloud, life: EndpointLife) -> None:
    variants = ("--variant", f"A={MODEL}:9", "--variant", "B=s3://bucket/b/model.tar.gz")
    scaling = ("--scale-invocations", "600", "--scale-cpu", "50", "--schedule", "day=2-4@cron(0 7 * * ? *)")

    first = dogs(*variants, *scaling, "--version", "v1")

    assert first.returncode == 0, first.stderr
    assert "there is no endpoint dogs yet: it is made" in first.stderr
    assert "dogs is Creating" in first.stderr
    assert "A from 1 to 4 instances" in first.stderr
    assert "  A: weight 9, 1 instances\n  B: weight 1, 1 instances\n" in first.stdout
    targets = boto3.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    assert len(targets["ScalableTargets"]) == 2
    assert len(cloud.asked("application-autoscaling:PutScalingPolicy")) == 4

    # Another endpoint whose name begins alike keeps all that it has.
    assert deploy("--name", "dogs-2", "--model", MODEL, "--version", "v1").returncode == 0
    second = dogs("--model", MODEL, "--version", "v2", "--instance-type", "ml.c5.large")

    assert second.returncode == 0, second.stderr
    assert f"s3://{BUCKET}/models/" in second.stderr and "is there already" in second.stderr
    assert "dogs is there, with dogs-v1: it is updated" in second.stderr
    assert "dogs: A, B not scaled any more" in second.stderr
    assert "removed: dogs-v1, dogs-v1-A, dogs-v1-B" in second.stderr
    assert set(life.moto.endpoint_configs) == {"dogs-v2", "dogs-2-v1"}
    assert set(life.moto._models) == {"dogs-v2", "dogs-2-v1"}

    for name in ("dogs", "dogs-2"):
        assert deploy("--delete", name).returncode == 0
    assert left(cloud, life) == []
    assert deploy("--delete", "dogs").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--name", "theirs", "--model", "s3://bucket/a/model.tar.gz"),
        ("--attach", "theirs", "--scale-cpu", "50"),
        ("--delete", "theirs"),
    ],
)
def test_what_is_somebody_elses_is_neither_updated_nor_scaled_nor_deleted(
    life: EndpointLife, arguments: tuple[str, ...]
) -> None:
    make_parts("theirs", [])
    boto3.client("sagemaker").create_endpoint(EndpointName="theirs", EndpointConfigName="theirs")

    done = deploy(*arguments)

    assert done.returncode == 2, done.stderr
    assert "somebody else's and is left alone" in done.stderr
    assert not boto3.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker"
    )["ScalableTargets"]
    assert life.moto.endpoints["theirs"].endpoint_config_name == "theirs"
    assert list(life.moto.endpoint_configs) == ["theirs"]


def test_an_update_keeps_the_scaling_that_is_asked_for_and_ends_the_rest(
    cloud: Cloud, life: EndpointLife
) -> None:
    assert dogs("--model", MODEL, "--scale-invocations", "600", "--scale-cpu", "50").returncode == 0

    done = dogs("--model", MODEL, "--scale-cpu", "60")

    assert done.returncode == 0, done.stderr
    assert cloud.asked("application-autoscaling:DeregisterScalableTarget") == []
    [update] = cloud.asked("sagemaker:UpdateEndpoint")
    assert update["RetainAllVariantProperties"] is True
    policies = boto3.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
    [policy] = policies["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 120
    backlog = deploy("--attach", "dogs", "--scale-backlog", "5")
    assert backlog.returncode == 2
    assert "--scale-backlog is for --async: nothing waits at dogs" in backlog.stderr
    assert len(cloud.asked("application-autoscaling:RegisterScalableTarget")) == 2


def test_an_asynchronous_endpoint_is_woken_by_an_alarm_that_goes_with_it(
    cloud: Cloud, life: EndpointLife
) -> None:
    done = deploy("--name", "queue", "--model", MODEL, "--async", "--scale-backlog", "5")

    assert done.returncode == 0, done.stderr
    policies = boto3.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
    arns = {each["PolicyName"]: each["PolicyARN"] for each in policies["ScalingPolicies"]}
    [alarm] = boto3.client("cloudwatch").describe_alarms(AlarmNames=["queue-has-backlog"])["MetricAlarms"]
    assert alarm["AlarmActions"] == [arns["has-backlog"]]
    logs, group = boto3.client("logs"), "/aws/sagemaker/Endpoints/queue"
    logs.create_log_group(logGroupName=group)
    assert deploy("--delete", "queue").returncode == 0
    claimed = f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:{group}"
    assert logs.list_tags_for_resource(resourceArn=claimed)["tags"] == {"project": "dog-breeds"}
    assert left(cloud, life) == []


@pytest.mark.usefixtures("life")
def test_the_model_of_a_training_job_is_found_by_its_name(cloud: Cloud) -> None:
    boto3.client("sagemaker").create_training_job(
        TrainingJobName="trained",
        AlgorithmSpecification={"TrainingImage": "train", "TrainingInputMode": "File"},
        RoleArn="arn:aws:iam::123456789012:role/dog-breeds-execution",
        OutputDataConfig={"S3OutputPath": "s3://bucket/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )

    done = dogs("--model", "trained")

    assert done.returncode == 0, done.stderr
    [model] = cloud.asked("sagemaker:CreateModel")
    assert model["PrimaryContainer"]["ModelDataUrl"] == "s3://bucket/out/trained/output/model.tar.gz"
    unknown = dogs("--model", "untrained")
    assert unknown.returncode == 2
    assert "untrained is no archive and no job's folder here" in unknown.stderr
    assert "no training job in this account and region" in unknown.stderr


def test_a_model_that_does_not_start_is_told_with_its_log_and_made_anew_next_time(
    cloud: Cloud, life: EndpointLife
) -> None:
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName=LOG_GROUP)
    logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName="AllTraffic/i-1")

    def write(_: Call) -> None:
        event = {"timestamp": int(time.time() * 1000), "message": "serve: model.bin is damaged\n"}
        logs.put_log_events(logGroupName=LOG_GROUP, logStreamName="AllTraffic/i-1", logEvents=[event])

    cloud.replies["logs:FilterLogEvents"] = write
    life.course, life.reason = ["Creating", "Failed"], "The container did not pass the ping health check."

    done = dogs("--model", MODEL, "--version", "v1")

    assert done.returncode == 1
    said = done.stderr[done.stderr.index("error: ") :].splitlines()
    assert said[0] == "error: dogs: The container did not pass the ping health check."
    assert said[1:3] == [f"its last log lines ({LOG_GROUP}):", "serve: model.bin is damaged"]
    assert said[3].startswith("dogs is left, Failed, with its models and configuration: --delete dogs")
    again = dogs("--model", MODEL, "--version", "v2")
    assert again.returncode == 0, again.stderr
    assert "dogs has failed before: it is removed and made anew" in again.stderr
    assert set(life.moto._models) == {"dogs-v2"}


def test_an_image_of_another_architecture_comes_with_what_to_do(life: EndpointLife) -> None:
    life.course, life.reason = ["Creating", "Failed"], "exec /usr/bin/python: exec format error"

    assert "`make build push PLATFORM=linux/amd64`" in dogs("--model", MODEL).stderr


def test_an_update_that_is_rolled_back_leaves_what_was_there(cloud: Cloud, life: EndpointLife) -> None:
    assert dogs("--model", MODEL, "--version", "v1").returncode == 0
    life.course = ["Updating", "RollingBack", "InService"]
    life.reason = "One or more alarms went off: dogs-5xx"

    done = dogs("--model", MODEL, "--version", "v2", "--canary", "10", "--rollback-on", "dogs-5xx")

    assert done.returncode == 1
    assert "error: dogs: One or more alarms went off: dogs-5xx\n" in done.stderr
    assert "dogs is RollingBack" in done.stderr
    assert "the update was rolled back: dogs goes on with dogs-v1, and costs what it did" in done.stderr
    assert list(life.moto.endpoint_configs) == list(life.moto._models) == ["dogs-v1"]
    [update] = cloud.asked("sagemaker:UpdateEndpoint")
    assert update["DeploymentConfig"]["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "dogs-5xx"}]}


def test_who_attaches_to_an_update_is_told_that_it_was_rolled_back(cloud: Cloud, life: EndpointLife) -> None:
    assert dogs("--model", MODEL, "--version", "v1").returncode == 0
    make_parts("dogs-v2", cloud.asked("sagemaker:CreateModel")[0]["Tags"])
    life.course = ["Updating", "RollingBack", "InService"]
    boto3.client("sagemaker").update_endpoint(EndpointName="dogs", EndpointConfigName="dogs-v2")

    attached = deploy("--attach", "dogs")

    assert attached.returncode == 1, attached.stderr
    assert "the update was rolled back: dogs goes on with dogs-v1, and costs what it did" in attached.stderr
    assert "what it was to have (dogs-v2) is left, which costs nothing" in attached.stderr


@pytest.mark.usefixtures("life")
def test_throttling_and_a_cut_network_are_survived(cloud: Cloud) -> None:
    cloud.replies |= {
        "s3:PutObject": times(2, CutError),
        "sagemaker:CreateModel": times(2, error("ThrottlingException", "Rate exceeded")),
        "application-autoscaling:RegisterScalableTarget": times(1, CutError),
    }

    done = dogs("--model", MODEL, "--scale-invocations", "600")

    assert done.returncode == 0, done.stderr
    assert len(cloud.asked("sagemaker:CreateModel")) == 3
    assert len(cloud.asked("application-autoscaling:RegisterScalableTarget")) == 2


def test_an_answer_that_gets_lost_is_no_second_endpoint_and_no_error(
    cloud: Cloud, life: EndpointLife
) -> None:
    """The request arrives, the connection ends, and botocore sends it again."""
    create, lost = cloud.replies["sagemaker:CreateEndpoint"], threading.Event()

    def lose(call: Call) -> Answer | None:
        answer = create(call)
        if lost.is_set():
            return answer
        lost.set()
        wanted = call.parameters
        life.moto.create_endpoint(wanted["EndpointName"], wanted["EndpointConfigName"], wanted["Tags"])
        raise CutError

    cloud.replies["sagemaker:CreateEndpoint"] = lose

    done = dogs("--model", MODEL)

    assert done.returncode == 0, done.stderr
    assert len(cloud.asked("sagemaker:CreateEndpoint")) == 2


QUOTA = error(
    "ResourceLimitExceeded",
    "The account-level service limit 'ml.m5.large for endpoint usage' is 0 Instances, with current "
    "utilization of 0 Instances and a request delta of 1 Instances.",
)


@pytest.mark.parametrize(
    ("action", "answer", "said"),
    [
        ("sagemaker:CreateEndpoint", QUOTA, "'ml.m5.large for endpoint usage' is 0"),
        (
            "sagemaker:CreateEndpointConfig",
            error("ExpiredTokenException"),
            "credentials are not valid any more",
        ),
    ],
    ids=["quota", "expired"],
)
def test_what_is_refused_leaves_nothing(
    cloud: Cloud, life: EndpointLife, action: str, answer: Answer, said: str
) -> None:
    cloud.replies[action] = lambda _: answer

    done = dogs("--model", MODEL)

    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert left(cloud, life) == []


@pytest.mark.parametrize("is_ours", [True, False], ids=["answer lost", "foreign"])
def test_of_models_that_are_there_already_only_those_of_this_run_are_removed(
    cloud: Cloud, life: EndpointLife, is_ours: bool
) -> None:
    refusal = error("ValidationException", "Cannot create already existing model.")

    def create(call: Call) -> Answer:
        cloud.replies.pop("sagemaker:CreateModel")
        tags = call.parameters["Tags"] if is_ours else []
        boto3.client("sagemaker").create_model(**call.parameters | {"Tags": tags})
        cloud.replies["sagemaker:CreateModel"] = lambda _: refusal
        if is_ours:
            raise CutError
        return refusal

    cloud.replies["sagemaker:CreateModel"] = create

    done = dogs("--model", MODEL, "--version", "v1")

    assert done.returncode == 1
    assert "Cannot create already existing model" in done.stderr
    assert list(life.moto._models) == ([] if is_ours else ["dogs-v1"])


def test_a_deployment_leaves_what_another_one_is_about_to_use(cloud: Cloud, life: EndpointLife) -> None:
    """One whose update runs already, and one that is just being made."""
    assert dogs("--model", MODEL, "--version", "v1").returncode == 0
    for name in ("dogs-pending", "dogs-young"):
        make_parts(name, cloud.asked("sagemaker:CreateModel")[0]["Tags"])
    for young in (life.moto._models["dogs-young"], life.moto.endpoint_configs["dogs-young"]):
        young.creation_time += timedelta(hours=1)
    pending = {"PendingDeploymentSummary": {"EndpointConfigName": "dogs-pending"}}
    cloud.edits["sagemaker:DescribeEndpoint"] = lambda answer: answer | pending

    done = dogs("--model", MODEL, "--version", "v2")

    assert done.returncode == 0, done.stderr
    assert "removed: dogs-v1, dogs-v1" in done.stderr
    assert set(life.moto.endpoint_configs) == {"dogs-v2", "dogs-pending", "dogs-young"}
    assert set(life.moto._models) == {"dogs-v2", "dogs-pending", "dogs-young"}
    cloud.edits.clear()
    assert deploy("--delete", "dogs").returncode == 0
    assert left(cloud, life) == []


def test_a_deployment_that_another_one_overtakes_says_so(cloud: Cloud, life: EndpointLife) -> None:
    assert dogs("--model", MODEL, "--version", "v1").returncode == 0
    make_parts("dogs-theirs", cloud.asked("sagemaker:CreateModel")[0]["Tags"])
    update = cloud.replies["sagemaker:UpdateEndpoint"]

    def overtake(call: Call) -> Answer | None:
        answer = update(call)
        life._wanted["dogs"] = "dogs-theirs"
        return answer

    cloud.replies["sagemaker:UpdateEndpoint"] = overtake

    done = dogs("--model", MODEL, "--version", "v2")

    assert done.returncode == 1
    assert "dogs was updated by somebody else meanwhile, and goes on with dogs-theirs" in done.stderr
    assert set(life.moto.endpoint_configs) == {"dogs-v1", "dogs-theirs"}


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start deployments, and end those that a failed test leaves."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        running.append(subprocess.Popen(command(*arguments), stdout=-1, stderr=-1, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_says_what_goes_on_and_attach_finishes_it(
    cloud: Cloud, life: EndpointLife, started: Callable[..., subprocess.Popen[str]]
) -> None:
    life.course = ["Creating"]
    process = started("--name", "dogs", "--model", MODEL, "--scale-invocations", "600")
    wait_for(lambda: len(cloud.asked("sagemaker:CreateEndpoint")) == 1)
    looks = len(cloud.asked("sagemaker:DescribeEndpoint"))
    wait_for(lambda: len(cloud.asked("sagemaker:DescribeEndpoint")) > looks + 1)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)

    assert process.returncode == 130
    assert said.splitlines()[-2:] == [
        "stopped by Ctrl-C",
        "dogs goes on at AWS and costs until it is removed: --attach dogs waits for it "
        "(with the --scale-… options again, not set yet), --delete dogs removes it",
    ]
    refused = dogs("--model", MODEL)
    assert refused.returncode == 2
    assert "error: dogs is Creating already: --attach dogs waits for it" in refused.stderr
    life._ahead["dogs"] = ["Creating", "InService"]
    attached = deploy("--attach", "dogs", "--scale-invocations", "600")
    assert attached.returncode == 0, attached.stderr
    assert "dogs answers on SageMaker:" in attached.stdout
    assert len(cloud.asked("application-autoscaling:PutScalingPolicy")) == 1


def test_ctrl_c_before_anything_costs_leaves_nothing(
    cloud: Cloud, life: EndpointLife, started: Callable[..., subprocess.Popen[str]]
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def linger(_: Call) -> Answer:
        asked.set()
        go_on.wait(120)
        return error("ServiceUnavailable", status=503)

    cloud.replies["sagemaker:CreateEndpointConfig"] = linger
    process = started("--name", "dogs", "--model", MODEL)
    assert asked.wait(120)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    go_on.set()

    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped by Ctrl-C"
    assert left(cloud, life) == []


@pytest.fixture
def large(tmp_path: Path) -> str:
    """An archive that is sent in three parts."""
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(os.urandom(17_000_000))
    return str(archive)


def unfinished() -> list[str]:
    """The IDs of the uploads that were begun and neither finished nor aborted."""
    listed = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET)
    return [each["UploadId"] for each in listed.get("Uploads", [])]


@pytest.mark.usefixtures("life")
@pytest.mark.parametrize("may_abort", [True, False], ids=["aborted", "named"])
def test_ctrl_c_in_the_middle_of_an_upload_leaves_nothing_or_names_it(
    cloud: Cloud, large: str, started: Callable[..., subprocess.Popen[str]], may_abort: bool
) -> None:
    begun, asked, go_on = iter([True]), threading.Event(), threading.Event()

    def linger(_: Call) -> Answer | None:
        if next(begun, False):  # the first begins the upload, the others are its parts
            return None
        asked.set()
        go_on.wait(120)
        return Answer(b"", 400)

    cloud.replies["s3:PutObject"] = linger
    if not may_abort:
        cloud.replies["s3:AbortMultipartUpload"] = lambda _: Answer(b"", 403)
    process = started("--name", "dogs", "--model", large)
    assert asked.wait(120)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    go_on.set()

    assert process.returncode == 130
    left = unfinished()
    assert len(left) == (0 if may_abort else 1)
    named = [line for line in said.splitlines() if "abort-multipart-upload" in line]
    assert [upload for upload in left if any(f"--upload-id {upload}" in line for line in named)] == left
    assert len(named) == len(left)
    assert not cloud.asked("sagemaker:CreateModel")


@pytest.mark.usefixtures("life")
def test_a_network_that_is_cut_in_the_middle_of_an_upload_is_waited_out(cloud: Cloud, large: str) -> None:
    cuts = times(2, CutError)
    begun = iter([True])
    cloud.replies["s3:PutObject"] = lambda call: None if next(begun, False) else cuts(call)

    done = dogs("--model", large)

    assert done.returncode == 0, done.stderr
    (model,) = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="models/")["Contents"]
    assert model["Size"] == 17_000_000
    assert unfinished() == []


@pytest.mark.usefixtures("life")
def test_an_upload_that_a_cut_network_ends_is_aborted_and_said(
    cloud: Cloud, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "_CONFIG", aws._CONFIG.merge(Config(retries={"max_attempts": 1})))
    begun = iter([True])

    def cut(_: Call) -> None:
        if not next(begun, False):
            raise CutError

    cloud.replies["s3:PutObject"] = cut

    done = dogs("--model", large)

    assert done.returncode == 1
    assert "error: AWS cannot be reached: " in done.stderr
    assert "s3:AbortMultipartUpload" in cloud.actions
    assert unfinished() == []
    assert not cloud.asked("sagemaker:CreateModel")


def test_a_removal_that_is_cut_off_is_gone_on_with(cloud: Cloud, life: EndpointLife) -> None:
    assert dogs("--model", MODEL, "--scale-cpu", "50").returncode == 0
    refusal = error("AccessDeniedException", "not authorized to perform: x")
    cloud.replies |= {"sagemaker:DeleteModel": times(1, refusal), "logs:TagResource": lambda _: refusal}

    first = deploy("--delete", "dogs")

    assert first.returncode == 2
    assert f"{LOG_GROUP} has no tag, and teardown.py may not find it: this AWS" in first.stderr
    assert life.moto.endpoints == {}
    assert first.stderr.splitlines()[-1] == "what is left of dogs may cost: --delete dogs goes on"
    assert deploy("--delete", "dogs").returncode == 0
    assert left(cloud, life) == []


def test_the_statuses_that_are_waited_out_are_the_platforms() -> None:
    from launcher import aws_endpoint

    shape: Any = operation_shape("ListEndpoints").members["StatusEquals"]
    assert set(shape.enum) > aws_endpoint._BUSY
