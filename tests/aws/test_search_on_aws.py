"""A search on SageMaker, against a server that speaks its API."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import small_search
from botocore.exceptions import ClientError, EndpointConnectionError
from cloud import Answer, Cloud

from launcher import (
    aws_log,
    aws_search,
    command_line,
    local_search,
    prices,
    requests,
    search,
    trials,
    tuning_request,
)
from launcher.account import Account
from launcher.aws_curves import Curves
from launcher.aws_search import AwsSearch
from launcher.errors import SettingsError
from launcher.requests import Request
from launcher.settings import Settings
from trainer.metrics import metric_definitions

SCRIPT = Path(__file__).parents[2] / "scripts/launch_hpo.py"
START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def request(name: str = "search") -> Request:
    training = requests.training_job(
        name=name,
        image="123456789012.dkr.ecr.eu-central-1.amazonaws.com/dog-breeds-train:1",
        channels={"training": "s3://bucket/dogs"},
        hyperparameters={"backbone": "efficientnet_lite0"},
        metric_definitions=metric_definitions(),
        output_uri="s3://bucket/out",
        role="arn:aws:iam::123456789012:role/trainer",
    )
    return tuning_request.tuning_job(name, search.read(search.DEFAULT_FILE), training)


def summary(number: int, status: str, objective: float | None, **more: Any) -> dict[str, Any]:
    """One trial as ListTrainingJobsForHyperParameterTuningJob has it, three minutes long."""
    name = f"search-{number:03d}-abcd"
    metric = {"MetricName": "validation:accuracy", "Value": objective}
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:eu-central-1:123456789012:training-job/{name}",
        "CreationTime": START,
        "TrainingStartTime": START + timedelta(minutes=number),
        "TrainingEndTime": START + timedelta(minutes=number + 3),
        "TrainingJobStatus": status,
        "TunedHyperParameters": {"learning-rate": "0.0123", "batch-size": "32", "epochs": str(number + 1)},
        **({} if objective is None else {"FinalHyperParameterTuningJobObjectiveMetric": metric}),
        **more,
    }


STREAM = {"logGroupName": aws_log.TRAINING, "logStreamName": "search-002-abcd/algo-1-1"}


def log(*lines: str, earlier: int = 0) -> int:
    """Let the second trial write lines, all in one millisecond; returns which."""
    now = int(time.time() * 1000) - earlier
    events = [{"timestamp": now, "message": line} for line in lines]
    boto3.client("logs").put_log_events(**STREAM, logEvents=events)
    return now


def fail(client: Any, operation: str, error: Exception) -> None:
    """Let every call of an operation end in an error."""

    def send(**_: Any) -> None:
        raise error

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-call.{service}.{operation}", send)


@pytest.fixture
def started(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> AwsSearch:
    """A search that the server has accepted and that has three trials, one of which has written a log."""
    monkeypatch.setattr(aws_search, "POLL_SECONDS", 0.05)
    found = AwsSearch("search", Account(Settings()), print)
    sent = request()
    added = {"_tuning_objective_metric": "validation:accuracy"}  # as the platform does
    sent["TrainingJobDefinition"]["StaticHyperParameters"] |= added
    found.start(sent | {"Tags": found.account.tags})
    trials = [
        summary(1, "Completed", 0.81),
        summary(2, "Completed", 0.86),
        summary(3, "Failed", None, FailureReason="AlgorithmError: the pictures are upside down"),
    ]
    listed = {"TrainingJobSummaries": trials}
    job = {
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1},
        "BillableTimeInSeconds": 60,
    }
    cloud.replies |= {
        "sagemaker:ListTrainingJobsForHyperParameterTuningJob": lambda _: Answer(listed),
        "sagemaker:DescribeTrainingJob": lambda call: Answer(call.parameters | job),
    }
    boto3.client("logs").create_log_group(logGroupName=aws_log.TRAINING)
    boto3.client("logs").create_log_stream(**STREAM)
    log(*(f"[metrics] epoch={epoch} train:loss=1 validation:accuracy=0.8{epoch}" for epoch in (1, 2, 3)))
    monkeypatch.setattr(prices, "known", lambda instance, region: (1.5, ""))
    return found


@pytest.fixture
def running(started: AwsSearch, cloud: Cloud) -> AwsSearch:
    """The same, and it has not ended."""
    status = {"HyperParameterTuningJobStatus": "InProgress"}
    cloud.edits["sagemaker:DescribeHyperParameterTuningJob"] = lambda answer: answer | status
    return started


def test_a_search_is_followed_to_its_table_its_best_and_its_report(
    started: AwsSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    aws_search.follow(started, tmp_path, said.append)

    trials = started.trials()
    assert [trial.status for trial in trials] == ["Completed", "Completed", "Failed"]
    assert trials[1].curve == {1: 0.81, 2: 0.82, 3: 0.83}
    assert trials[1].seconds == 180
    assert trials[1].cost == pytest.approx(1.5 * 2 * 60 / 3600)
    assert json.loads((tmp_path / "best.json").read_text()) == {
        "backbone": "efficientnet_lite0", "learning-rate": 0.0123, "batch-size": 32, "epochs": 3,
    }  # fmt: skip
    report = (tmp_path / "report.html").read_text()
    assert "upside down" in report
    assert "_tuning" not in report
    assert "search-003-abcd | Failed: AlgorithmError: the pictures are upside down" in said
    printed = capsys.readouterr().out
    assert "$0.05" in printed
    assert f"best: {tmp_path / 'best.json'}" in printed


def test_a_search_that_was_begun_elsewhere_is_followed_without_curves_or_refused(cloud: Cloud) -> None:
    sent = request()
    del sent["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    boto3.client("sagemaker").create_hyper_parameter_tuning_job(**sent)
    elsewhere = AwsSearch("search", Account(Settings()), print)
    assert tuning_request.objective_regex(elsewhere.request) == tuning_request.NOTHING
    assert trials.reported(tuning_request.NOTHING, "[metrics] epoch=1 validation:accuracy=0.5") is None

    several = AwsSearch("several", Account(Settings()), print)
    definitions = Answer({"TrainingJobDefinitions": [{}, {}], "HyperParameterTuningJobStatus": "InProgress"})
    cloud.replies["sagemaker:DescribeHyperParameterTuningJob"] = lambda _: definitions
    with pytest.raises(SettingsError, match="the search several has several training jobs' definitions"):
        _ = several.request


def test_a_name_that_is_taken_and_one_that_is_not_there_are_named(started: AwsSearch) -> None:
    with pytest.raises(
        SettingsError, match="there is a search search already: --backend aws --attach search follows it"
    ):
        AwsSearch("search", Account(Settings()), print).start(request())
    other = AwsSearch("other", Account(Settings()), print)
    missing = {"Error": {"Code": "ResourceNotFound", "Message": "unable to find it"}}
    fail(
        other.sagemaker,
        "DescribeHyperParameterTuningJob",
        other.sagemaker.exceptions.ResourceNotFound(missing, "any"),
    )
    with pytest.raises(SettingsError, match="there is no search other"):
        _ = other.request
    with pytest.raises(SettingsError, match="there is no search other"):
        other.stop()


def test_ctrl_c_leaves_the_search_running_and_says_how_to_come_back(
    running: AwsSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(aws_search.time, "sleep", interrupt)

    with pytest.raises(KeyboardInterrupt) as stopped:
        aws_search.follow(running, tmp_path, print)

    (note,) = stopped.value.__notes__
    assert note == "the search runs on: --backend aws --attach search follows it, --stop search stops it"
    assert boto3.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="search")


@pytest.fixture
def handlers() -> Iterator[None]:
    """Leave this process the signal handlers that it had."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


EXPIRED = ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "expired"}}, "any")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (EndpointConnectionError(endpoint_url="https://api"), (1, "error: AWS cannot be reached: ")),
        (EXPIRED, (2, "error: the AWS credentials are not valid any more (ExpiredTokenException): ")),
    ],
)
def test_whatever_ends_the_following_the_search_is_said_to_run_on(
    running: AwsSearch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    ending: tuple[int, str],
) -> None:
    fail(running.sagemaker, "ListTrainingJobsForHyperParameterTuningJob", error)

    def main() -> int:
        aws_search.follow(running, tmp_path, command_line.tell)
        return 0

    code, said = ending
    assert command_line.run(main) == code
    *_, reason, note = capsys.readouterr().err.splitlines()
    assert reason.startswith(said)
    assert note == "the search runs on: --backend aws --attach search follows it, --stop search stops it"


def test_logs_that_may_not_be_read_are_done_without(
    started: AwsSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(started._curves._logs, "FilterLogEvents", denied("logs:FilterLogEvents"))

    aws_search.follow(started, tmp_path, print)

    printed = capsys.readouterr().out
    why = "this AWS identity may not do logs:FilterLogEvents on arn:x: allow it in its policy"
    assert printed.count(f"learning curves are not shown: {why}") == 1
    assert (tmp_path / "best.json").exists()


def test_a_log_is_read_on_from_where_it_was_read_to(started: AwsSearch) -> None:
    curves = Curves(r"validation:accuracy=(\S+)", boto3.client("logs"), print)
    asked: list[int] = []
    curves._logs.meta.events.register(
        "provide-client-params.cloudwatch-logs.FilterLogEvents",
        lambda params, **_: asked.append(params["startTime"]),
    )
    last = log("validation:accuracy=0.91", "validation:accuracy=unknown", "validation:accuracy=0.92")

    first = curves.of("search-002-abcd")
    log("validation:accuracy=0.93")

    assert first == {1: 0.81, 2: 0.82, 3: 0.83, 4: 0.91, 5: 0.92}
    assert curves.of("search-002-abcd") == first | {6: 0.93}
    log("validation:accuracy=0.94", earlier=5_000)  # what another host wrote before arrives after it
    assert curves.of("search-002-abcd") == first | {6: 0.93, 7: 0.94}
    assert asked[:2] == [0, last - 10_000]


def test_a_stop_is_sent_to_a_search_that_runs(running: AwsSearch, cloud: Cloud) -> None:
    cloud.replies["sagemaker:StopHyperParameterTuningJob"] = lambda _: Answer({})

    ended = running.stop()
    cloud.edits.clear()
    ended_since = running.stop()

    assert (ended, ended_since) == ("", "Completed")

    asked = cloud.asked("sagemaker:StopHyperParameterTuningJob")
    assert asked == [{"HyperParameterTuningJobName": "search"}]


def test_missing_credentials_are_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--backend", "aws", "--attach", "search", "--output", tmp_path],
        env={"PATH": "/usr/bin:/bin", "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: there are no AWS credentials: `aws configure`, ")
    assert done.stderr.count("\n") == 1


def denied(action: str) -> ClientError:
    message = f"User: arn:me is not authorized to perform: {action} on resource: arn:x"
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, "any")


def test_a_missing_permission_is_named(running: AwsSearch) -> None:
    fail(running.sagemaker, "StopHyperParameterTuningJob", denied("sagemaker:Stop"))

    with pytest.raises(SettingsError, match="may not do sagemaker:Stop on arn:x: allow it in its policy"):
        running.stop()


@pytest.mark.usefixtures("cloud")
def test_the_request_of_a_search_on_this_machine_is_taken_by_the_server_unchanged(tmp_path: Path) -> None:
    wanted = small_search.request(tmp_path, "here", strategy="Bayesian", **{"max-trials": 2})
    study, folder = local_search.begin(wanted, tmp_path / "runs", None, print)
    local_search.run(study, small_search.backend(tmp_path), folder, print)
    kept = json.loads((folder / "request.json").read_text())

    boto3.client("sagemaker").create_hyper_parameter_tuning_job(**kept)

    taken = boto3.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="here")
    assert kept == wanted
    assert (
        taken["HyperParameterTuningJobConfig"]["ParameterRanges"]
        == (kept["HyperParameterTuningJobConfig"]["ParameterRanges"])
    )
    for key, value in kept["TrainingJobDefinition"].items():
        assert taken["TrainingJobDefinition"][key] == value, key
