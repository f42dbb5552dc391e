"""explain.py and batch_transform.py on AWS where AWS, the network or the person ends the work early.

Nothing that costs is left unmentioned: the job, Clarify's endpoint, photographs in S3.
"""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import script
from botocore.config import Config
from cloud import Answer, Call, Cloud, CutError, error, times
from job_life import JobLife
from project_things import BUCKET

from launcher import aws

ROOT = Path(__file__).parents[2]
NAME = "dogs"
BACK = f"--backend aws --attach {NAME} follows it, --stop {NAME} stops it"
EXPIRED = error("ExpiredTokenException", "The security token is expired")
EXPIRED_IN_S3 = Answer(
    b"<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>",
    400,
    {"Content-Type": "application/xml"},
)
PHOTOGRAPHS = f"s3://{BUCKET}/explanations/{NAME}/photographs"


@dataclass(frozen=True)
class Kind:
    """A script that makes a model and a job of SageMaker about it."""

    script: str
    shape: str
    word: str
    source: tuple[str, ...]
    result: str  # a file that the job leaves

    @property
    def line(self) -> list[str]:
        """The command line without the script."""
        model = ROOT / "tests/golden/two-breeds.tar.gz"
        settings = ROOT / "tests/golden/settings.toml"
        options = f"--backend aws --job-name {NAME} --model {model} --settings {settings}"
        return [*self.source, *options.split()]


EXPLAIN = Kind(
    "explain",
    "ProcessingJob",
    "processing job",
    (*(str(ROOT / f"docs/images/{name}.png") for name in ("report", "ui")), "--format", "png"),
    f"explanations/{NAME}/result/report.pdf",
)
TRANSFORM = Kind(
    "batch_transform",
    "TransformJob",
    "batch transform job",
    (f"s3://{BUCKET}/photos",),
    f"predictions/{NAME}/photos/1.jpg.out",
)


@pytest.fixture(params=[EXPLAIN, TRANSFORM], ids=lambda kind: kind.script)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each of both scripts."""
    found: Kind = request.param
    return found


@pytest.fixture(autouse=True)
def _bucket(cloud: Cloud) -> None:
    place = {"LocationConstraint": boto3.client("s3").meta.region_name}
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is cut once is lost."""
    monkeypatch.setattr(aws, "_CONFIG", aws._CONFIG.merge(Config(retries={"max_attempts": 1})))


@pytest.fixture(autouse=True)
def _results_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fetched goes to runs/."""
    monkeypatch.chdir(tmp_path)


def run(kind: Kind) -> script.Ended:
    return script.run(kind.script, *kind.line)


def before(cloud: Cloud, action: str, fault: Callable[[Call], Answer | None]) -> None:
    """Let a fault answer an action where it wants to, and else what answers it now."""
    otherwise = cloud.replies.get(action, lambda _: None)
    cloud.replies[action] = lambda call: fault(call) or otherwise(call)


def models() -> list[str]:
    return [each["ModelName"] for each in boto3.client("sagemaker").list_models()["Models"]]


def test_throttling_and_a_cut_network_are_waited_out(kind: Kind, cloud: Cloud) -> None:
    JobLife(cloud, kind.shape, NAME, looks=1)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=kind.result, Body=b",Akita,0.9\n")
    throttled = error("ThrottlingException", "Rate exceeded")
    before(cloud, "s3:PutObject", times(1, CutError))
    before(cloud, "sagemaker:CreateModel", times(1, throttled))
    before(cloud, f"sagemaker:Create{kind.shape}", times(1, CutError))
    before(cloud, f"sagemaker:Describe{kind.shape}", times(1, throttled))
    before(cloud, "sagemaker:DeleteModel", times(1, throttled))

    done = run(kind)

    assert done.returncode == 0, done.stderr
    assert len(cloud.asked(f"sagemaker:Create{kind.shape}")) == 2
    assert models() == []


def test_an_answer_that_gets_lost_leaves_the_job_its_model_and_says_that_it_runs(
    kind: Kind, cloud: Cloud
) -> None:
    """The request arrives, the connection ends, and botocore sends it again."""
    job = JobLife(cloud, kind.shape, NAME, looks=10)

    def lose(call: Call) -> Answer | None:
        if job.request:
            return error("ResourceInUse", "there is one")
        job.request = call.parameters
        raise CutError

    before(cloud, f"sagemaker:Create{kind.shape}", lose)

    done = run(kind)

    assert done.returncode == 2
    assert f"the {kind.word} runs on: {BACK}" in done.stderr
    assert models() == [NAME]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("fault", "said"),
    [(CutError, "AWS cannot be reached: "), (error("InternalFailure", "x", 500), "AWS refused Create")],
    ids=["cut", "failed"],
)
def test_a_job_of_which_aws_does_not_say_whether_it_is_started_may_be_there(
    kind: Kind, cloud: Cloud, fault: type[CutError] | Answer, said: str
) -> None:
    cloud.replies[f"sagemaker:Create{kind.shape}"] = times(100, fault)

    done = run(kind)

    assert done.returncode == 1
    assert f"error: {said}" in done.stderr
    assert f"AWS may have started the {kind.word} all the same: {BACK}" in done.stderr
    assert models() == [NAME]  # which the job may need


def test_credentials_that_expire_in_the_middle_leave_the_job_running_and_say_so(
    kind: Kind, cloud: Cloud
) -> None:
    job, action = JobLife(cloud, kind.shape, NAME, looks=1), f"sagemaker:Describe{kind.shape}"
    before(cloud, action, lambda _: EXPIRED if len(cloud.asked(action)) == 2 else None)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=kind.result, Body=b",Akita,0.9\n")

    done = run(kind)

    assert done.returncode == 2
    *_, reason, note = done.stderr.splitlines()
    assert reason.startswith("error: the AWS credentials are not valid any more (ExpiredTokenException)")
    assert note == f"the {kind.word} runs on: {BACK}"
    settings = str(ROOT / "tests/golden/settings.toml")
    attached = script.run(kind.script, "--backend", "aws", "--attach", NAME, "--settings", settings)
    assert attached.returncode == 0, attached.stderr
    assert job.looks < 0
    assert models() == []


def test_results_that_cannot_be_fetched_are_named_with_the_way_to_them(kind: Kind, cloud: Cloud) -> None:
    JobLife(cloud, kind.shape, NAME, looks=0)
    before(cloud, "s3:ListBucket", lambda _: Answer(b"", 403))

    done = run(kind)

    assert done.returncode != 0
    fetches = f"the {kind.word} has ended: --backend aws --attach {NAME} fetches its results"
    assert done.stderr.splitlines()[-1] == fetches


def test_a_job_that_has_left_nothing_is_not_said_to_have_results(kind: Kind, cloud: Cloud) -> None:
    JobLife(cloud, kind.shape, NAME, looks=0)

    done = run(kind)

    assert done.returncode == 1
    assert "fetches its results" not in done.stderr
    assert re.match(r"error: .* has (left nothing|no answers)", done.stderr.splitlines()[-1])


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", [CutError, EXPIRED_IN_S3], ids=["cut", "expired"])
def test_photographs_that_are_cut_off_start_nothing_and_are_said_to_be_there(
    fault: type[CutError] | Answer, cloud: Cloud
) -> None:
    first, fails = threading.Semaphore(1), times(100, fault)
    before(cloud, "s3:PutObject", lambda call: sent_first(call, first) or fails(call))

    done = run(EXPLAIN)

    assert done.returncode == (1 if fault is CutError else 2)
    assert done.stderr.splitlines()[-1] == f"what has arrived of the photographs stays in {PHOTOGRAPHS}"
    assert not {"sagemaker:CreateModel", "sagemaker:CreateProcessingJob"} & cloud.actions


def sent_first(call: Call, first: threading.Semaphore) -> Answer | None:
    """Take the model and one photograph."""
    is_photograph = call.path.endswith(".png")
    return Answer(b"") if not is_photograph or first.acquire(blocking=False) else None


@pytest.mark.parametrize("action", ["s3:PutObject", "sagemaker:CreateProcessingJob"])
def test_ctrl_c_before_aws_has_answered_says_what_may_be_there(cloud: Cloud, action: str) -> None:
    asked, answer = threading.Event(), threading.Event()

    def wait(call: Call) -> None:
        if action != "s3:PutObject" or call.path.endswith(".png"):
            asked.set()
            answer.wait(120)

    cloud.replies[action] = wait
    command = [sys.executable, ROOT / "scripts/explain.py", *EXPLAIN.line]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert asked.wait(240)

    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=240)
    answer.set()

    assert running.returncode == 130
    assert f"what has arrived of the photographs stays in {PHOTOGRAPHS}" in said
    started = f"AWS may have started the processing job all the same: {BACK}" in said
    assert started == (action != "s3:PutObject")


def test_why_a_job_has_failed_is_said_where_its_endpoint_may_not_be_asked_for(cloud: Cloud) -> None:
    JobLife(cloud, "ProcessingJob", NAME, looks=0, ending="Failed", reason="AlgorithmError: no endpoint")
    cloud.replies["sagemaker:ListEndpoints"] = lambda _: error("AccessDeniedException", "no")

    done = run(EXPLAIN)

    assert done.returncode == 1
    assert "error: AlgorithmError: no endpoint\n" in done.stderr
    assert (
        "whether Clarify's endpoint dog-breeds--explain… is left, which costs, is not known: " in done.stderr
    )


def as_aws_refuses(call: Call) -> Answer | None:
    """Refuse a second model of a name, which moto takes."""
    if call.parameters["ModelName"] in models():
        return error("ValidationException", f'Cannot create already existing model "arn:…/{NAME}".')
    return None


def leave_model(*tags: dict[str, str]) -> None:
    """Make what a command leaves that ended before it had a job."""
    role = "arn:aws:iam::123456789012:role/dog-breeds-execution"
    container = {"Image": "of-before"}
    boto3.client("sagemaker").create_model(
        ModelName=NAME, PrimaryContainer=container, ExecutionRoleArn=role, Tags=tags
    )


def test_a_model_that_was_left_without_a_job_is_made_anew(cloud: Cloud) -> None:
    leave_model({"Key": "project", "Value": "dog-breeds"})
    cloud.replies["sagemaker:CreateModel"] = as_aws_refuses
    job = JobLife(cloud, TRANSFORM.shape, NAME, looks=0)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=TRANSFORM.result, Body=b",Akita,0.9\n")

    done = run(TRANSFORM)

    assert done.returncode == 0, done.stderr
    assert job.request
    assert cloud.asked("sagemaker:CreateModel")[-1]["PrimaryContainer"]["Image"] != "of-before"
    assert models() == []


@pytest.mark.parametrize("whose", ["of-a-job-that-runs", "anothers"])
def test_a_model_that_a_job_needs_or_that_is_anothers_is_left(cloud: Cloud, whose: str) -> None:
    runs = whose == "of-a-job-that-runs"
    leave_model({"Key": "project", "Value": "dog-breeds" if runs else "cats"})
    job = JobLife(cloud, TRANSFORM.shape, NAME, looks=10)
    job.request = {f"{TRANSFORM.shape}Name": NAME} if runs else {}
    cloud.replies |= {
        "sagemaker:CreateModel": as_aws_refuses,
        f"sagemaker:Create{TRANSFORM.shape}": lambda _: error("ResourceInUse", "there is one"),
    }

    done = run(TRANSFORM)

    assert done.returncode == 2
    said = (
        f"the {TRANSFORM.word} runs on: {BACK}"
        if runs
        else f"there is another's model {NAME}: --job-name has"
    )
    assert said in done.stderr
    assert models() == [NAME]


def test_a_model_that_may_not_be_removed_hides_neither_reason_nor_results(kind: Kind, cloud: Cloud) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=kind.result, Body=b",Akita,0.9\n")
    cloud.replies["sagemaker:DeleteModel"] = lambda _: error("AccessDeniedException", "no")
    left = f"its model {NAME} is left: teardown.py removes it: this AWS identity may not do DeleteModel"

    JobLife(cloud, kind.shape, NAME, looks=0, ending="Failed", reason="ClientError: no such picture")
    failed = run(kind)
    JobLife(cloud, kind.shape, NAME, looks=0)
    done = run(kind)

    assert (failed.returncode, done.returncode) == (1, 0), done.stderr
    assert "error: ClientError: no such picture\n" in failed.stderr
    assert left in failed.stderr
    assert left in done.stderr


@pytest.mark.parametrize(
    ("kind", "action", "said"),
    [
        (TRANSFORM, "sagemaker:CreateModel", f"AWS may have made the model {NAME} all the same: "),
        (TRANSFORM, "sagemaker:DeleteModel", f"its model {NAME} may be left: teardown.py removes it"),
        (
            EXPLAIN,
            "sagemaker:ListEndpoints",
            "Clarify's endpoint dog-breeds--explain… may be left, which costs",
        ),
    ],
    ids=lambda value: value.script if isinstance(value, Kind) else None,
)
def test_ctrl_c_beside_a_job_says_what_may_be_left_and_why_it_has_failed(
    cloud: Cloud, kind: Kind, action: str, said: str
) -> None:
    JobLife(cloud, kind.shape, NAME, looks=0, ending="Failed", reason="AlgorithmError: no endpoint")
    main = threading.main_thread().ident
    assert main
    cloud.replies[action] = lambda _: signal.pthread_kill(main, signal.SIGINT)

    done = run(kind)

    assert done.returncode == 130
    assert said in done.stderr
    assert ("AlgorithmError: no endpoint\n" in done.stderr) == (action != "sagemaker:CreateModel")
