"""Dashboard, alarms, questions to the log and drift of an endpoint, against a server with AWS's APIs."""

import json
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import boto3
import captures
import pytest
import script
from cloud import Answer, Cloud

ROOT = Path(__file__).parents[2]
BUCKET = "dog-breeds-123456789012-eu-central-1"
TROUBLES = ("errors", "memory", "slow")


def monitor(*arguments: str | Path) -> script.Ended:
    settings = ["--settings", str(ROOT / "tests/golden/settings.toml")]
    return script.run("monitor", *map(str, arguments), *settings)


@pytest.fixture
def endpoint(cloud: Cloud) -> str:
    """An endpoint with two variants."""
    client = boto3.client("sagemaker")
    role = "arn:aws:iam::123456789012:role/dog-breeds-execution"
    client.create_model(ModelName="m", PrimaryContainer={"Image": "i"}, ExecutionRoleArn=role)
    variants = [
        {"VariantName": name, "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        for name in ("old", "new")
    ]
    client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=variants)
    client.create_endpoint(EndpointName="dog-breeds", EndpointConfigName="c")
    return "dog-breeds"


def test_an_endpoint_gets_a_dashboard_and_alarms_that_tell_somebody(endpoint: str) -> None:
    done = [monitor("--email", "you@example.com", "--job", "dogs-1", "--slow-ms", "300") for _ in range(2)]

    assert [each.returncode for each in done] == [0, 0], done[0].stderr
    assert "region=eu-central-1#dashboards/dashboard/dog-breeds" in done[0].stdout
    alarms = boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
    names = {
        f"dog-breeds--{endpoint}-{variant}-{trouble}" for variant in ("old", "new") for trouble in TROUBLES
    }
    assert {alarm["AlarmName"] for alarm in alarms} == names
    (topic,) = boto3.client("sns").list_topics()["Topics"]
    assert all(alarm["AlarmActions"] == [topic["TopicArn"]] for alarm in alarms)
    (mail,) = boto3.client("sns").list_subscriptions()["Subscriptions"]
    assert (mail["Endpoint"], mail["Protocol"]) == ("you@example.com", "email")
    slow = next(alarm for alarm in alarms if alarm["AlarmName"].endswith("new-slow"))
    assert (slow["Threshold"], slow["ExtendedStatistic"]) == (300_000, "p99")


def test_the_alarms_of_variants_that_are_gone_are_removed_and_no_others(endpoint: str) -> None:
    cloudwatch = boto3.client("cloudwatch")
    assert monitor("--variant", "old", "--variant", "gone").returncode == 0
    for name, about in {"dog-breeds--dog-breeds-2-gone-slow": "dog-breeds-2", "own": endpoint}.items():
        dimensions = [{"Name": "EndpointName", "Value": about}, {"Name": "VariantName", "Value": "gone"}]
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Dimensions=dimensions,
            ComparisonOperator="GreaterThanThreshold",
            EvaluationPeriods=1,
        )

    done = monitor()

    assert done.returncode == 0, done.stderr
    gone = [f"dog-breeds--{endpoint}-gone-{trouble}" for trouble in sorted(TROUBLES)]
    assert f"of variants that {endpoint} no longer has, removed: {', '.join(gone)}" in done.stderr
    left = {alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
    kept = {f"dog-breeds--{endpoint}-{name}-{trouble}" for name in ("old", "new") for trouble in TROUBLES}
    assert left == kept | {"dog-breeds--dog-breeds-2-gone-slow", "own"}


def test_what_is_made_when_ctrl_c_comes_is_said_and_a_dry_run_says_what_it_costs(
    endpoint: str, cloud: Cloud
) -> None:
    main = threading.main_thread().ident
    assert main
    cloud.replies["sns:CreateTopic"] = lambda _: signal.pthread_kill(main, signal.SIGINT)

    stopped = monitor()
    planned = monitor("--dry-run")

    assert stopped.returncode == 130
    assert "some of the dashboard and the alarms may be there, and cost: the same command" in stopped.stderr
    assert planned.stderr.splitlines() == [
        f"the variants of {endpoint} are asked for when it is done: AllTraffic stands for each",
        "cost of a dashboard and 3 alarms: $3.30 a month at most, until teardown.py takes them away",
    ]


def test_the_dashboard_shows_answers_machines_and_the_training(endpoint: str) -> None:
    monitor("--job", "dogs-1")

    board = boto3.client("cloudwatch").get_dashboard(DashboardName=endpoint)["DashboardBody"]
    widgets = json.loads(board)["widgets"]
    titles = [widget["properties"]["title"] for widget in widgets]
    assert titles[0] == "requests a minute"
    assert titles[-1] == "training: dogs-1"
    assert ["/aws/sagemaker/TrainingJobs", "validation:accuracy", "TrainingJobName", "dogs-1"] in widgets[-1][
        "properties"
    ]["metrics"]
    places = {(widget["x"], widget["y"]) for widget in widgets}
    assert len(places) == len(widgets) == 7


def test_an_endpoint_that_is_not_there_is_said(cloud: Cloud) -> None:
    done = monitor("--endpoint", "other")

    assert done.returncode == 2
    assert "there is no endpoint other in this account and region: deploy.py makes one" in done.stderr
    assert "cloudwatch:PutDashboard" not in cloud.actions


def test_the_log_is_asked_and_its_answer_shown(cloud: Cloud) -> None:
    row = [{"field": "@timestamp", "value": "2026-11-27 10:00:00"}, {"field": "status", "value": "503"}]
    looks = iter(["Running", "Complete"])
    cloud.replies |= {
        "logs:StartQuery": lambda _: Answer({"queryId": "q"}),
        "logs:GetQueryResults": lambda _: Answer({"status": next(looks), "results": [row]}),
    }

    done = monitor("--logs", "errors", "--hours", "6")

    assert done.returncode == 0, done.stderr
    assert "2026-11-27 10:00:00" in done.stdout
    assert "503" in done.stdout
    (asked,) = cloud.asked("logs:StartQuery")
    assert asked["logGroupName"] == "/aws/sagemaker/Endpoints/dog-breeds"
    assert asked["endTime"] - asked["startTime"] == 6 * 3600


def test_an_endpoint_without_a_log_is_said(cloud: Cloud) -> None:
    done = monitor("--logs", "slow")

    assert done.returncode == 2
    assert "there is no log of dog-breeds: it has never been started" in done.stderr


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A training job's folder, of four breeds with as many pictures each."""
    data = tmp_path / "job/output/data"
    data.mkdir(parents=True)
    (data / "run.json").write_text("{}")
    (data / "classes.csv").write_text(
        "class,train,valid,test\n" + "".join(f"{name},50,1,1\n" for name in "ABCD")
    )
    return tmp_path / "job"


def bucket_with(lines: list[str], *, when: datetime) -> None:
    client = boto3.client("s3")
    place = {"LocationConstraint": client.meta.region_name}
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    captures.put(BUCKET, lines, when=when)


@pytest.mark.parametrize(("breeds", "code", "said"), [("ABCD", 0, "no drift: "), ("AAAB", 3, "drift: ")])
@pytest.mark.usefixtures("cloud")
def test_answers_that_drift_from_the_training_are_told_and_drawn(
    job: Path, tmp_path: Path, breeds: str, code: int, said: str
) -> None:
    now = datetime.now(UTC)
    lines = [
        captures.line(breed, when=now, encoded=number % 2 == 0) for number, breed in enumerate(breeds * 50)
    ]
    refused = captures.line("A", when=now, output={"predictions": [{"error": {"code": "bad_request"}}]})
    old = captures.line("D", when=datetime(2026, 1, 1, tzinfo=UTC))
    bucket_with([*lines, refused, old], when=now)

    done = monitor("--drift", "--training", job, "--plot", tmp_path / "drift.png")

    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(said)
    assert "200 predictions" in done.stdout
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")


def test_a_damaged_capture_is_named(cloud: Cloud, job: Path, tmp_path: Path) -> None:
    bucket_with(["{", "{"], when=datetime.now(UTC))

    place = f"s3://{BUCKET}/captured/dog-breeds"
    done = monitor("--drift", "--training", job, "--captured", place)

    assert done.returncode == 1
    assert "1.jsonl is not what SageMaker captures" in done.stderr
