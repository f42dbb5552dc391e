"""A training job on SageMaker, from its request to its end, against a server that speaks its API."""

import argparse
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from cloud import Answer, Call, Cloud, CutError, error, times

from launcher import aws, aws_log, aws_training, command_line, training_arguments
from launcher.account import Account
from launcher.aws_training import AwsTraining
from launcher.errors import SettingsError
from launcher.settings import Settings

SCRIPT = Path(__file__).parents[2] / "scripts/launch_training.py"
RATE = {"unit": "Hrs", "pricePerUnit": {"USD": "0.90"}}
PRICE = json.dumps(
    {
        "product": {"attributes": {"component": "Training"}},
        "terms": {"OnDemand": {"term": {"priceDimensions": {"rate": RATE}}}},
    }
)
ON_AWS = ("--backend", "aws", "--data", "s3://bucket/dogs", "--job-name", "dogs", "--epochs", "3")
BACK = "--backend aws --attach dogs follows it, --stop dogs stops it"
DENIED = "x is not authorized to perform: logs:FilterLogEvents"
QUOTA = (
    "The account-level service limit 'ml.g4dn.xlarge for spot training job usage' is 0 Instances, with "
    "current utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas"
)


@dataclass
class Platform:
    """SageMaker at work on the job `dogs`: each time it is asked it is one stage further, to the last."""

    cloud: Cloud
    stages: list[dict[str, Any]] = field(default_factory=list)
    _at: int = -1

    def stage(self, status: str, *lines: str, host: str = "algo-1", **more: Any) -> None:
        """Add a stage: the job's status then, what it has logged by then, and what else is told of it."""
        secondary = more.pop("SecondaryStatus", status)
        self.stages.append(
            {
                "TrainingJobStatus": status,
                "SecondaryStatus": secondary,
                "lines": lines,
                "host": host,
                "TrainingStartTime": time.time() - 60,
                "SecondaryStatusTransitions": [
                    {"Status": secondary, "StartTime": time.time(), "StatusMessage": more.pop("message", "")}
                ],
                **more,
            }
        )

    def describe(self, answer: dict[str, Any]) -> dict[str, Any]:
        self._at = min(self._at + 1, len(self.stages) - 1)
        now = dict(self.stages[self._at])
        log(*now.pop("lines"), host=now.pop("host"))
        self.stages[self._at]["lines"] = ()
        changes = [each["SecondaryStatusTransitions"][0] for each in self.stages[: self._at + 1]]
        sent = self.cloud.asked("sagemaker:CreateTrainingJob")[-1]  # moto keeps metrics of its own
        return (
            answer
            | now
            | {
                "SecondaryStatusTransitions": changes,
                "AlgorithmSpecification": sent["AlgorithmSpecification"],
            }
        )


def log(*lines: str, host: str) -> None:
    """Let a host of the job write lines."""
    logs, stream = boto3.client("logs"), {"logGroupName": aws_log.TRAINING}
    named = stream | {"logStreamName": f"dogs/{host}-1795000000"}
    if not logs.describe_log_groups(logGroupNamePrefix=aws_log.TRAINING)["logGroups"]:
        logs.create_log_group(**stream)
    if not logs.describe_log_streams(**stream, logStreamNamePrefix=named["logStreamName"])["logStreams"]:
        logs.create_log_stream(**named)
    if lines:
        now = int(time.time() * 1000)
        logs.put_log_events(**named, logEvents=[{"timestamp": now, "message": line} for line in lines])


@pytest.fixture
def platform(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """SageMaker, which starts the job and lets it write its first epoch."""
    monkeypatch.setattr(aws_training, "LOG_SECONDS", 0.05)
    found = Platform(cloud)
    found.stage("InProgress", SecondaryStatus="Starting", message="Preparing the instances for training")
    first = "[metrics] epoch=1 train:loss=1.5 validation:accuracy=0.71"
    found.stage("InProgress", "looking at pictures", first, SecondaryStatus="Training")
    cloud.edits["sagemaker:DescribeTrainingJob"] = found.describe
    cloud.replies["pricing:GetProducts"] = lambda _: Answer({"PriceList": [PRICE]})
    return found


@pytest.fixture
def handlers() -> Iterator[None]:
    """Leave this process the signal handlers that it had."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@dataclass
class Run:
    """How a script ended that was run in this process."""

    code: int
    out: str
    err: str


@pytest.fixture
def follow(platform: Platform, handlers: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Start the job, and follow it in this process."""

    def followed(instances: int = 1) -> Run:
        request = dry_run("--instances", str(instances))
        job = AwsTraining("dogs", Account(Settings()), command_line.tell)

        def main() -> int:
            print("\n".join(aws_training.run(job, command_line.tell, request).lines()))
            return 0

        code = command_line.run(main)
        printed = capsys.readouterr()
        return Run(code, printed.out, printed.err)

    return followed


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@cache
def dry_run(*more: str) -> Any:
    return json.loads(script(*ON_AWS, *more, "--dry-run").stdout)


LAST = "[metrics] epoch=3 train:loss=0.5 validation:accuracy=0.861234"
BILLED = {"TrainingTimeInSeconds": 1000, "BillableTimeInSeconds": 300}


def test_a_job_is_sent_as_the_dry_run_shows_it_and_followed_to_its_model(platform: Platform) -> None:
    platform.stage("Completed", LAST, **BILLED)

    done = script(*ON_AWS)

    assert done.returncode == 0, done.stderr
    (sent,) = platform.cloud.asked("sagemaker:CreateTrainingJob")
    assert sent == dry_run()
    bucket = "s3://dog-breeds-123456789012-eu-central-1"
    assert "validation:accuracy      0.861234\n" in done.stdout
    assert f"model: {bucket}/training/dogs/output/model.tar.gz\n" in done.stdout
    assert "charged: ran 1,000 s, billed 300 s, $0.075, 70% saved by spot instances\n" in done.stdout
    assert f"python scripts/analyze_debug.py {bucket}/training/dogs\n" in done.stdout
    said = done.stderr.splitlines()
    told = [
        "Starting: Preparing the instances for training",
        "Training",
        "looking at pictures",
        LAST,
        "Completed",
    ]
    assert [line for line in said if line in told] == [*told[:3], "Completed", LAST]


def test_a_job_that_fails_says_why_first_and_then_how_its_log_ends(
    platform: Platform, follow: Callable[..., Run]
) -> None:
    reason = "AlgorithmError: the pictures are upside down, exit code: 1"
    platform.stage("Failed", *(f"line {number}" for number in range(30)), FailureReason=reason)

    done = follow()

    assert done.code == 1
    ending = done.err[done.err.index("error: ") :].splitlines()
    assert ending[0] == f"error: {reason}"
    assert ending[1:4] == ["the training job dogs failed", "the last lines of its log:", "line 10"]
    assert "line 29" in ending
    assert ending[-1].startswith("findings and report: python scripts/analyze_debug.py s3://")
    assert "runs on" not in "\n".join(ending)


def test_an_image_of_another_architecture_comes_with_what_to_do(
    platform: Platform, follow: Callable[..., Run]
) -> None:
    platform.stage("Failed", FailureReason="AlgorithmError: exec /usr/bin/python: exec format error")

    assert "`make build push PLATFORM=linux/amd64`" in follow().err


def test_where_no_machine_is_free_what_to_try_is_said(platform: Platform, follow: Callable[..., Run]) -> None:
    platform.stage(
        "Failed", FailureReason="CapacityError: Unable to provision requested ML compute capacity."
    )

    done = follow()

    assert "no such machine is free now: --no-spot, another --instance-type" in done.err


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("Stopped", ""),
        ("MaxRuntimeExceeded", "--max-runtime"),
        ("MaxWaitTimeExceeded", "--no-spot, or more --max-wait"),
    ],
)
def test_a_job_that_was_stopped_ends_as_one_here_and_says_how_to_continue(
    platform: Platform, follow: Callable[..., Run], why: str, remedy: str
) -> None:
    platform.stage("Stopped", SecondaryStatus=why)

    done = follow()

    assert done.code == 75
    assert f"stopped: the training job dogs was stopped ({why})" in done.err
    assert remedy in done.err
    kept = "s3://dog-breeds-123456789012-eu-central-1/checkpoints/dogs"
    assert f"the same command with --checkpoints {kept} continues it" in done.err


@pytest.mark.parametrize("fault", [error("ThrottlingException", "Rate exceeded"), CutError])
def test_throttling_and_a_cut_connection_are_waited_out(
    platform: Platform, follow: Callable[..., Run], fault: Any
) -> None:
    platform.stage("Completed", LAST)
    for action in ("sagemaker:DescribeTrainingJob", "logs:FilterLogEvents"):
        platform.cloud.replies[action] = times(2, fault)

    done = follow()

    assert done.code == 0, done.err
    assert done.err.count(LAST) == 1


def test_credentials_that_expire_in_the_middle_leave_the_job_running_and_say_so(
    platform: Platform, follow: Callable[..., Run]
) -> None:
    def expire(_: Call) -> Answer | None:
        described = len(platform.cloud.asked("sagemaker:DescribeTrainingJob"))
        return error("ExpiredTokenException", "The security token is expired") if described > 2 else None

    platform.cloud.replies["sagemaker:DescribeTrainingJob"] = expire

    done = follow()

    assert done.code == 2
    *_, reason, note = done.err.splitlines()
    assert reason.startswith("error: the AWS credentials are not valid any more (ExpiredTokenException)")
    assert note == f"the training job runs on, at $0.9 an hour at most: {BACK}"


def test_a_connection_that_is_lost_while_the_job_is_started_leaves_that_open(
    platform: Platform, capsys: pytest.CaptureFixture[str], handlers: None
) -> None:
    job = AwsTraining("dogs", Account(Settings()), command_line.tell)

    def lose(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://api")

    job.sagemaker.meta.events.register("before-call.sagemaker.CreateTrainingJob", lose)

    assert command_line.run(lambda: len(aws_training.run(job, command_line.tell, dry_run()))) == 1
    said = capsys.readouterr().err
    assert "error: AWS cannot be reached: " in said
    assert f"AWS may have started the training job all the same: {BACK}" in said


def test_ctrl_c_leaves_the_job_running_and_says_what_it_costs_and_how_to_come_back(
    platform: Platform,
) -> None:
    ours, theirs = pty.openpty()  # on a terminal there is a line that says how far it is
    running = subprocess.Popen([sys.executable, SCRIPT, *ON_AWS], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"epoch 1 of 3" not in shown:
        shown += os.read(ours, 4096)

    running.send_signal(signal.SIGINT)
    shown += rest(ours)

    assert running.wait(60) == 130
    text = " ".join(shown.decode().split())
    assert "dogs Training · 1 min · epoch 1 of 3 · train:loss 1.5 · validation:accuracy 0.71" in text
    assert "stopped by Ctrl-C" in text
    assert f"the training job runs on, at $0.9 an hour at most: {BACK}" in text
    assert "sagemaker:StopTrainingJob" not in platform.cloud.actions


def rest(terminal: int) -> bytes:
    """Read until the other side is closed."""
    read = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            return read
        if not piece:
            return read
        read += piece


def test_ctrl_c_before_aws_has_answered_says_that_the_job_may_be_there(platform: Platform) -> None:
    asked, answer = threading.Event(), threading.Event()

    def wait(_: Call) -> None:
        asked.set()
        answer.wait(60)

    platform.cloud.replies["sagemaker:CreateTrainingJob"] = wait
    running = subprocess.Popen([sys.executable, SCRIPT, *ON_AWS], stderr=subprocess.PIPE, text=True)
    assert asked.wait(60)

    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    answer.set()

    assert running.returncode == 130
    assert f"AWS may have started the training job all the same: {BACK}" in said


def test_a_job_that_runs_is_found_again_with_its_whole_log(
    platform: Platform, follow: Callable[..., Run]
) -> None:
    platform.stage("Completed", LAST)
    follow()

    again = script("--backend", "aws", "--attach", "dogs")

    assert again.returncode == 0, again.stderr
    assert "looking at pictures" in again.stderr
    assert "validation:accuracy      0.861234" in again.stdout
    nobody = script("--backend", "aws", "--attach", "cats")
    assert nobody.returncode == 2
    assert nobody.stderr == "error: there is no training job cats in this account and region\n"


def test_a_job_that_runs_is_stopped_and_one_that_has_ended_is_not(platform: Platform) -> None:
    platform.cloud.replies["sagemaker:StopTrainingJob"] = lambda _: Answer({})
    boto3.client("sagemaker").create_training_job(**dry_run())

    with pytest.raises(SettingsError, match="training job dogs has no tag project=cats, so it is somebody"):
        AwsTraining("dogs", Account(Settings(project="cats")), print).stop()
    stopping = script("--backend", "aws", "--stop", "dogs")
    platform.stages = []
    platform.stage("Completed")
    ended = script("--backend", "aws", "--stop", "dogs")

    assert (stopping.returncode, stopping.stderr) == (0, "stopping: --attach dogs follows it\n")
    assert (ended.returncode, ended.stderr) == (0, "it had ended already: Completed\n")
    assert platform.cloud.asked("sagemaker:StopTrainingJob") == [{"TrainingJobName": "dogs"}]


def test_more_of_a_quota_is_asked_for_in_the_region_that_has_refused(cloud: Cloud) -> None:
    cloud.replies["sagemaker:CreateEndpoint"] = lambda _: error("ResourceLimitExceeded", QUOTA)
    elsewhere = Account(Settings(region="us-west-2")).client("sagemaker")

    with pytest.raises(SettingsError, match=r"https://us-west-2\.console\.aws"), aws.explained():
        elsewhere.create_endpoint(EndpointName="dogs", EndpointConfigName="dogs")


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            error("ResourceInUse", "Training job names must be unique"),
            "there is a training job dogs already: --backend aws --attach dogs follows it",
        ),
        (
            error("ResourceLimitExceeded", QUOTA),
            "a quota of the account is in the way: 'ml.g4dn.xlarge for spot training job usage' is 0. Ask "
            "for more of it at https://eu-central-1.console.aws.amazon.com/servicequotas/home/services/sagemaker",
        ),
        (error("AccessDeniedException", DENIED), "this AWS identity may not do logs:FilterLogEvents"),
    ],
)
def test_a_job_that_aws_refuses_is_not_said_to_run(
    platform: Platform, follow: Callable[..., Run], refusal: Answer, said: str
) -> None:
    platform.cloud.replies["sagemaker:CreateTrainingJob"] = lambda _: refusal

    done = follow()

    assert done.code == 2
    assert said in done.err
    assert "runs on" not in done.err
    assert "may have started" not in done.err


def test_a_log_that_may_not_be_read_is_done_without(platform: Platform, follow: Callable[..., Run]) -> None:
    found = [{"MetricName": "validation:accuracy", "Value": 0.86, "Timestamp": time.time()}]
    platform.stage("Completed", LAST, FinalMetricDataList=found)
    platform.cloud.replies["logs:FilterLogEvents"] = lambda _: error("AccessDeniedException", DENIED)

    done = follow()

    assert done.code == 0
    assert done.err.count("the log is not shown: this AWS identity may not do logs:FilterLogEvents") == 1
    assert "validation:accuracy      0.86\n" in done.out


def test_the_lines_of_several_hosts_begin_with_their_names(
    platform: Platform, follow: Callable[..., Run]
) -> None:
    platform.stage("InProgress", "from the other", host="algo-2", SecondaryStatus="Training")
    platform.stage("Completed")

    done = follow(instances=2)

    assert "algo-1 | looking at pictures\n" in done.err
    assert "algo-2 | from the other\n" in done.err


@pytest.mark.usefixtures("cloud")
def test_what_lies_on_this_machine_is_refused_with_the_way_to_bring_it_there(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / split / "dog").mkdir(parents=True)
        (tmp_path / split / "dog/1.jpg").touch()

    done = script("--backend", "aws", "--data", str(tmp_path))

    assert done.returncode == 2
    assert f"  the channel training: {tmp_path.as_uri()}" in done.stderr
    assert "scripts/prepare_data.py --data FOLDER --upload brings photographs there" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--attach", "dogs"], "--attach: only for jobs on AWS: --backend aws"),
        (["--backend", "aws", "--stop", "dogs", "--epochs", "3"], "--stop excludes --epochs"),
        (
            ["--backend", "aws", "--data", "s3://dogs/d", "--output", "here"],
            "--output is a folder of this machine",
        ),
        (
            ["--backend", "aws", "--data", "s3://dogs/d", "--warm-pool", "60"],
            "spot instances cannot be kept warm",
        ),
        (["--data", "s3://dogs/d", "--no-spot"], "--spot: only --backend aws takes this"),
        ([], "--data is needed"),
    ],
)
@pytest.mark.usefixtures("cloud")
def test_options_that_would_be_ignored_or_are_not_possible_are_refused(options: list[str], said: str) -> None:
    parser = argparse.ArgumentParser()
    training_arguments.add(parser)
    parser.add_argument("--dry-run", action="store_true")

    with pytest.raises(SettingsError, match=said):
        training_arguments.request_of(training_arguments.parse(parser, options))


def test_an_account_without_credentials_ends_before_anything_is_asked() -> None:
    nobody = Account(Settings(region="eu-central-1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/dev/null")
        with pytest.raises(SettingsError, match="there are no AWS credentials"):
            aws_training.run(AwsTraining("dogs", nobody, print), print)
