"""teardown.py: all that carries the project's tag goes, nothing else, and what is left is said."""

import _thread
import json
import subprocess
import sys
import threading

import boto3
import pytest
import script
from cloud import Answer, Call, Cloud, Reply, error, times
from project_things import BUCKET, FOREIGN, JOB_LOGS, LOGS, OWN, Jobs, dashboard, job_arn, make


def tear_down(*arguments: str) -> script.Ended:
    return script.run("teardown", *arguments)


def answered(answer: str) -> subprocess.CompletedProcess[str]:
    """Run the script at a terminal, which the program `script` gives it, and answer its question."""
    command = f"{sys.executable} {script.SCRIPTS / 'teardown.py'}"
    return subprocess.run(
        ["script", "--quiet", "--return", "--command", command, "/dev/null"],
        input=answer,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def denied(action: str) -> Reply:
    """Refuse an action as AWS does where no policy allows it."""
    return lambda _: error("AccessDeniedException", f"User: x is not authorized to perform: {action}", 403)


@pytest.fixture
def full(cloud: Cloud) -> Cloud:
    """An account with one of each of the project's, and of another's whose name begins alike."""
    assert script.run("setup_account").returncode == 0
    boto3.client("logs").create_log_group(logGroupName=JOB_LOGS)
    make("dogs", OWN)
    make("dog-breeds-2", FOREIGN)
    for name in ("dog-breeds", "dog-breeds--dogs", "dog-breeds-2"):
        dashboard(name)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="foreign", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for key in ("kept", "kept", "deleted"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
        s3.put_object(Bucket="foreign", Key=key, Body=b"1")
    s3.delete_object(Bucket=BUCKET, Key="deleted")
    s3.create_multipart_upload(Bucket=BUCKET, Key="broke-off")
    return cloud


def everything() -> dict[str, list[str]]:
    """Return the names of all that the account has, by kind; jobs have ended, and stay."""
    sagemaker, logs, cloudwatch = (boto3.client(each) for each in ("sagemaker", "logs", "cloudwatch"))
    targets = boto3.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    streams = logs.describe_log_streams(logGroupName=JOB_LOGS)["logStreams"]
    return {
        "endpoint": [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]],
        "config": [
            each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]
        ],
        "model": [each["ModelName"] for each in sagemaker.list_models()["Models"]],
        "autoscaling": [each["ResourceId"].split("/")[1] for each in targets["ScalableTargets"]],
        "topic": [each["TopicArn"].split(":")[-1] for each in boto3.client("sns").list_topics()["Topics"]],
        "alarm": [each["AlarmName"] for each in cloudwatch.describe_alarms()["MetricAlarms"]],
        "dashboard": [each["DashboardName"] for each in cloudwatch.list_dashboards()["DashboardEntries"]],
        "group": [
            each["logGroupName"].removeprefix(LOGS) for each in logs.describe_log_groups()["logGroups"]
        ],
        "stream": [each["logStreamName"].split("/")[0] for each in streams],
        "repository": [
            each["repositoryName"] for each in boto3.client("ecr").describe_repositories()["repositories"]
        ],
        "bucket": [each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]],
        "role": [each["RoleName"] for each in boto3.client("iam").list_roles()["Roles"]],
    }


EACH = ("endpoint", "config", "model", "autoscaling", "topic", "alarm", "dashboard", "stream")
ENDPOINT_DELETIONS = {"sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"}
FOREIGNERS: dict[str, list[str]] = {kind: ["dog-breeds-2"] for kind in EACH} | {
    "group": ["dog-breeds-2", JOB_LOGS],
    "repository": [],
    "bucket": ["foreign"],
    "role": [],
}


def test_all_of_the_project_goes_in_its_order_and_nothing_of_anybody_else(full: Cloud) -> None:
    done = tear_down("--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("nothing is left in account 123456789012, eu-central-1\n")
    assert everything() == FOREIGNERS
    assert len(boto3.client("s3").list_objects_v2(Bucket="foreign")["Contents"]) == 2
    order = [call.operation for call in full.calls if call.operation.startswith(("De", "Stop"))]
    places = [
        order.index(operation)
        for operation in (
            "DeregisterScalableTarget", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel",
            "DeleteLogGroup", "DeleteAlarms", "DeleteTopic", "DeleteRepository", "DeleteBucket", "DeleteRole",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    again = tear_down()
    assert (again.returncode, again.stdout) == (0, "nothing is left in account 123456789012, eu-central-1\n")


def test_a_dry_run_changes_nothing(full: Cloud) -> None:
    before = everything()

    done = tear_down("--dry-run")

    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["DeleteEndpoint"] == {"EndpointName": "dogs"}
    assert shown["DeleteBucket"] == {"Bucket": BUCKET}
    assert f"bucket {BUCKET}: every version of every file" in done.stderr
    assert everything() == before


@pytest.mark.usefixtures("full")
def test_kept_data_stay_with_their_bucket() -> None:
    done = tear_down("--yes", "--keep-data")

    assert done.returncode == 0, done.stderr
    where = "in account 123456789012, eu-central-1"
    assert done.stdout.endswith(f"left: bucket {BUCKET}: is kept\nnothing else is left {where}\n")
    assert everything() == FOREIGNERS | {"bucket": [BUCKET, "foreign"]}
    assert boto3.client("s3").list_object_versions(Bucket=BUCKET)["Versions"]


@pytest.mark.usefixtures("full")
def test_only_the_projects_name_as_the_answer_deletes() -> None:
    before = everything()

    nobody, no, ctrl_d = tear_down(), answered("no\n"), answered("\4")

    assert (nobody.returncode, no.returncode, ctrl_d.returncode) == (2, 1, 1), ctrl_d.stdout
    assert "to delete all of it, and what else is made with its tag meanwhile: " in ctrl_d.stdout
    assert "nothing was deleted" in ctrl_d.stdout and "Traceback" not in ctrl_d.stdout
    assert "  endpoint dogs (InService)\n" in nobody.stdout
    assert "nobody can be asked here: --yes" in nobody.stderr
    assert "nothing was deleted" in no.stdout
    assert everything() == before
    done = answered("dog-breeds\n")
    assert done.returncode == 0, done.stdout
    assert everything() == FOREIGNERS


def test_what_was_interrupted_is_gone_on_with(full: Cloud) -> None:
    stop = threading.Event()

    def refuse_after_endpoints(_: Call) -> Answer | None:
        return None if stop.is_set() else error("AccessDeniedException", "no", 403)

    late = ("sagemaker:DeleteEndpointConfig", "logs:DeleteLogGroup", "cloudwatch:DeleteAlarms")
    full.replies |= dict.fromkeys(late, refuse_after_endpoints)
    full.replies["sagemaker:DeleteModel"] = times(2, error("ThrottlingException"))  # is waited out
    first = tear_down("--yes")
    assert first.returncode == 1
    assert "left: log group /aws/sagemaker/Endpoints/dogs: this AWS identity may not do" in first.stdout
    left = everything()
    assert "dogs" not in left["endpoint"]
    assert BUCKET in left["bucket"] and left["role"]  # as long as anything may use them
    stop.set()

    second = tear_down("--yes")

    assert second.returncode == 0, second.stdout
    assert everything() == FOREIGNERS


def test_what_an_endpoint_answers_with_stays_while_it_cannot_be_deleted(
    full: Cloud,
) -> None:
    full.replies["logs:TagResource"] = denied("logs:TagResource")
    full.replies["sagemaker:DeleteEndpoint"] = denied("sagemaker:DeleteEndpoint")

    refused = tear_down("--yes")

    assert refused.returncode == 1
    assert "endpoint dogs goes all the same: this AWS identity may not do logs:TagResource" in refused.stderr
    for kind in ("endpoint configuration", "model"):
        assert f"left: {kind} dogs: waits for the endpoint that may use it\n" in refused.stdout
    left = everything()
    assert all("dogs" in left[kind] for kind in ("endpoint", "config", "model"))

    updating = error("ValidationException", 'Cannot update in-progress endpoint "dogs"')
    full.replies["sagemaker:DeleteEndpoint"] = times(1, updating)
    full.calls.clear()

    assert tear_down("--yes").returncode == 0
    assert everything() == FOREIGNERS
    order = [call.operation for call in full.calls if call.action in ENDPOINT_DELETIONS]
    assert order == ["DeleteEndpoint", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]


def test_what_may_not_be_listed_is_said_and_all_else_goes(full: Cloud) -> None:
    refusal = (
        b"<Code>AuthorizationError</Code><Message>x is not authorized to perform: SNS:ListTopics</Message>"
    )
    full.replies["sns:ListTopics"] = lambda _: Answer(
        b"<ErrorResponse><Error>%b</Error></ErrorResponse>" % refusal, 403, {"Content-Type": "text/xml"}
    )
    full.replies["tag:GetResources"] = denied("tag:GetResources")
    why = (
        "topics that could not be listed (this AWS identity may not do SNS:ListTopics: allow it in its policy"
    )

    shown = tear_down("--dry-run")
    done = tear_down("--yes")
    full.replies.clear()

    assert f"{why} (setup_account.py --print-policies shows what it needs)): left to you" in shown.stderr
    assert done.returncode == 1
    assert f"left: {why}" in done.stdout
    assert "left: logs that could not be listed (this AWS identity may not do tag:GetResources" in done.stdout
    setup = {kind: everything()[kind] for kind in ("bucket", "repository", "role")}
    assert f"left: bucket {BUCKET}: waits for what uses it\n" in done.stdout
    logged = {"topic": ["dogs", "dog-breeds-2"], "stream": ["dog-breeds-2", "dogs"]}
    assert everything() == FOREIGNERS | setup | logged


def test_ctrl_c_says_what_was_not_deleted_yet(full: Cloud) -> None:
    def interrupt(_: Call) -> None:
        _thread.interrupt_main()

    full.replies["sagemaker:DeleteEndpointConfig"] = interrupt

    stopped = tear_down("--yes")

    assert stopped.returncode == 130
    assert "not deleted yet, and the same command goes on: " in stopped.stderr
    assert f"bucket {BUCKET}" in stopped.stderr and "endpoint dogs" not in stopped.stderr


def test_running_jobs_are_stopped_and_foreign_ones_run_on(cloud: Cloud) -> None:
    jobs = Jobs(
        cloud,
        HyperParameterTuningJob=job_arn("hyper-parameter-tuning-job", "search"),
        TrainingJob=job_arn("training-job", "train"),
        TransformJob=job_arn("transform-job", "foreign"),
        ProcessingJob=job_arn("processing-job", "look"),
    )

    done = tear_down("--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs.status.pop("TransformJob") == "InProgress"
    assert set(jobs.status.values()) == {"Stopped"}
    stops = [call.operation for call in cloud.calls if call.operation.startswith("Stop")]
    assert stops == ["StopHyperParameterTuningJob", "StopTrainingJob", "StopProcessingJob"]


def test_a_warm_pool_is_let_go(cloud: Cloud) -> None:
    Jobs(cloud, warm_pool_of="train")

    done = tear_down("--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    (asked,) = cloud.asked("sagemaker:UpdateTrainingJob")
    assert asked == {"TrainingJobName": "train", "ResourceConfig": {"KeepAlivePeriodInSeconds": 0}}


@pytest.mark.usefixtures("cloud")
def test_what_a_clarify_job_made_for_itself_goes_by_its_name() -> None:
    boto3.client("logs").create_log_group(logGroupName=JOB_LOGS)
    for name in ("dog-breeds--explain-1a2b", "dog-breeds-2--explain-1a2b", "dog-breeds"):
        make(name, [])
    for gone in ("dog-breeds--explain-2b3c", "dog-breeds-2--explain-2b3c"):
        boto3.client("logs").create_log_group(logGroupName=LOGS + gone)

    done = tear_down("--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    sagemaker = boto3.client("sagemaker")
    endpoints = sorted(each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"])
    configurations = sagemaker.list_endpoint_configs()["EndpointConfigs"]
    assert endpoints == ["dog-breeds", "dog-breeds-2--explain-1a2b"]
    assert sorted(each["EndpointConfigName"] for each in configurations) == endpoints
    groups = boto3.client("logs").describe_log_groups(logGroupNamePrefix=LOGS)["logGroups"]
    foreign = ["dog-breeds", "dog-breeds-2--explain-1a2b", "dog-breeds-2--explain-2b3c"]
    assert [each["logGroupName"].removeprefix(LOGS) for each in groups] == foreign


@pytest.mark.usefixtures("full")
def test_what_an_endpoint_of_somebody_else_answers_with_is_left_to_the_person() -> None:
    boto3.client("sagemaker").create_endpoint(EndpointName="theirs", EndpointConfigName="dogs")

    done = tear_down("--yes")

    assert done.returncode == 1, done.stdout
    why = "(used by the endpoint theirs, which is not tagged as this project's): left to you"
    assert f"left: endpoint configuration dogs {why}" in done.stdout
    assert f"left: model dogs {why}" in done.stdout
    there = everything()
    assert there["endpoint"] == ["dog-breeds-2", "theirs"]
    assert "dogs" in there["config"] and "dogs" in there["model"]
    assert BUCKET in there["bucket"]


@pytest.mark.usefixtures("cloud")
def test_what_none_of_the_scripts_makes_is_named_and_left_to_the_person() -> None:
    boto3.client("kms").create_key(Tags=[{"TagKey": "project", "TagValue": "dog-breeds"}])

    done = tear_down("--yes")

    assert done.returncode == 1
    assert "left: something else with the tag, arn:aws:kms:eu-central-1:123456789012:key/" in done.stdout
