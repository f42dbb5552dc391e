"""docs/operations.md is run: each block of commands in its order, against one account on this machine.

To add a step, write it down in the page. What stands in for something that this machine does not have is in
STAND_INS; what happens by itself meanwhile is in MEANWHILE, under the section's heading. The calls of the
sections are held against the policies that setup_account.py prints: what they need is allowed, and nothing is
allowed that none of them needs.
"""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import boto3
import captures
import docker
import permissions
import pytest
import real_registry
from cloud import Answer, Call, Cloud
from endpoint_life import EndpointLife
from meanwhile import MODEL, a_trial, answering, jobs_that_leave
from project_things import BUCKET, much_that_runs
from tiny_artifact import write_explainable_artifact

import pages
from launcher import archives, inventory, policies
from launcher.account import Account
from launcher.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/operations.md"
BLOCKS = pages.blocks(PAGE, "sh")
TAG = f"life-{uuid.uuid4().hex[:8]}"  # of the images that are pushed: two runs share an engine
# Who sets up and tears down is another person than the one who works.
ADMINISTRATORS = {"Set up", "Look after it", "Take it all away"}

BREEDS = ("Affenpinscher", "Akita", "Boxer", "Dingo")  # that the training had, and the endpoint names

pytestmark = pytest.mark.xdist_group("whole-life")  # one process, since all is run once

# Words of the page, and what this machine has in their place.
STAND_INS = {
    "python scripts/prepare_data.py --data ../dogs --upload  # when": (
        'rm "$(find ../dogs/train -type f -print -quit)"; '
        "python scripts/prepare_data.py --data ../dogs --upload  # when"
    ),
    "../dogs": "data/drawn",
    "setup_account.py  # again": "setup_account.py --settings tagged.toml",
    "explain.py dog.jpg": "explain.py docs/images/ui.png --backend process",
    "analyze_debug.py": "analyze_debug.py --backend process",  # tests/container has the image
    "dog.jpg": "docs/images/ui.png",
    "dogImages/test": "docs",  # a folder with a folder of pictures
    "s3://dogs/training": f"s3://{BUCKET}/training",
    "make build\n": ":\n",  # tests/container builds them
    "make push\n": f'make push TAG={TAG} IMAGES="dog-breeds-train:{TAG} dog-breeds-serve:{TAG}"\n',
}


def a_job_that_was_billed(cloud: Cloud) -> None:
    """Moto's jobs are over at once and were not billed."""
    billed = {"TrainingTimeInSeconds": 1200, "BillableTimeInSeconds": 400}
    cloud.edits["sagemaker:DescribeTrainingJob"] = lambda answer: answer | billed


def an_endpoint(cloud: Cloud) -> None:
    """Moto updates no endpoints, and what it has answers nothing."""
    EndpointLife(cloud, "eu-central-1")
    answering(cloud, "dog-breeds", "queue")


def two_variants(cloud: Cloud) -> None:
    """Both of them answer."""
    answering(cloud, "dog-breeds/A", "dog-breeds/B")


def drift(_: Cloud) -> None:
    """Somebody changes by hand what was set up."""
    trusted = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    boto3.client("iam").update_assume_role_policy(RoleName="dog-breeds-execution", PolicyDocument=trust)
    ecr = boto3.client("ecr")
    ecr.put_image_tag_mutability(repositoryName="dog-breeds-train", imageTagMutability="MUTABLE")
    ecr.put_image_scanning_configuration(
        repositoryName="dog-breeds-train", imageScanningConfiguration={"scanOnPush": False}
    )


def an_explanation(_: Cloud) -> None:
    """Photographs, a model of two breeds, and what Clarify would have found: moto's job does nothing."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="dogs", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    s3.upload_file(str(MODEL), "dogs", "out/third/output/model.tar.gz")
    s3.put_object(Bucket="dogs", Key="photos/dog.jpg", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="explanations/dogs-why/result/report.pdf", Body=b"%PDF")


def what_was_asked(cloud: Cloud) -> None:
    """Captured answers, and a log: moto's queries do not know the fields of JSON lines."""
    now = datetime.now(UTC)
    captures.put(BUCKET, [captures.line(breed, when=now) for breed in BREEDS * 30], when=now)
    row = [{"field": "since", "value": "2026-11-27 10:00:00.000"}, {"field": "p50", "value": "12"}]
    cloud.replies |= {
        "logs:StartQuery": lambda _: Answer({"queryId": "q"}),
        "logs:GetQueryResults": lambda _: Answer({"status": "Complete", "results": [row]}),
    }


def jobs_that_run(cloud: Cloud) -> None:
    """Each of the page's jobs runs again until it is stopped: moto's are over at once."""
    for shape in ("HyperParameterTuningJob", "ProcessingJob", "TrainingJob", "TransformJob"):
        runs_until_stopped(cloud, shape)


def runs_until_stopped(cloud: Cloud, shape: str) -> None:
    action, status = f"sagemaker:Describe{shape}", {f"{shape}Status": "InProgress"}
    over = cloud.edits.get(action, lambda answer: answer)

    def stop(_: Call) -> Answer:
        cloud.edits[action] = over
        return Answer({})

    cloud.edits[action] = lambda answer: over(answer) | status
    cloud.replies[f"sagemaker:Stop{shape}"] = stop


# What happens before a section's commands are run, by its heading.
MEANWHILE: dict[str, Callable[[Cloud], None]] = {
    "Tune": a_trial,
    "Train": a_job_that_was_billed,
    "Deploying": an_endpoint,
    "A/B": two_variants,
    "Watching": what_was_asked,
    "Why that breed": an_explanation,
    "Stopping": jobs_that_run,
    "Look after it": drift,
    "Take it all away": much_that_runs,
}


@dataclass(frozen=True)
class Done:
    """A block of commands that was run, and what it asked of AWS."""

    section: str
    code: int
    output: str  # of all its commands, each behind a `+`
    calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class Life:
    """All blocks that were run, what the registry was asked, and what the account had in the end."""

    blocks: list[Done]
    registry_log: str
    left: list[str]

    def needed(self, *, administrator: bool) -> set[str]:
        """Return the permissions that either person's sections need."""
        calls = [
            call
            for done in self.blocks
            for call in done.calls
            if (done.section in ADMINISTRATORS) == administrator
        ]
        pushed = set() if administrator else permissions.of_registry(self.registry_log)
        return permissions.needed(permissions.of_scripts(calls)) | pushed


@pytest.fixture(scope="module")
def registry(lasting_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two small images with the names of the project's, and a registry in ECR's place; gives its log."""
    engine = docker_engine()
    with (
        real_registry.started(tmp_path_factory.mktemp("registry")) as (address, log),
        real_registry.small_image(engine, "dog-breeds-train", TAG),
        real_registry.small_image(engine, "dog-breeds-serve", TAG),
    ):
        token = base64.b64encode(b"AWS:secret").decode()
        login = {"authorizationToken": token, "proxyEndpoint": f"http://{address}"}
        lasting_cloud.replies["ecr:GetAuthorizationToken"] = lambda _: Answer({"authorizationData": [login]})
        yield log


def docker_engine() -> docker.DockerClient:
    """Return the engine that pushes, or skip: without a push the page is not run."""
    try:
        return docker.from_env()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")


def output_of_a_job(folder: Path) -> Path:
    """Return an archive of what a training job tells of itself and of its data."""
    data, archive = folder / "output/data", folder / "output.tar.gz"
    data.mkdir(parents=True)
    (data / "run.json").write_text('{"job_name": "dogs-final", "status": "completed"}')
    counts = "".join(f"{breed},50,1,1\n" for breed in BREEDS)
    (data / "classes.csv").write_text(f"class,train,valid,test\n{counts}")
    archives.pack(data.parent, archive)
    return archive


@pytest.fixture(scope="module")
def life(lasting_cloud: Cloud, registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Run all blocks of the page up to the first that fails."""
    checkout = pages.linked_checkout(tmp_path_factory.mktemp("life"))
    (checkout / "tagged.toml").write_text('[tags]\nteam = "vision"\n')  # others than the project's own
    write_explainable_artifact(checkout / "runs/latest/model")  # of a training on this machine
    jobs_that_leave(lasting_cloud, output_of_a_job(tmp_path_factory.mktemp("job")))
    done: list[Done] = []
    for block in BLOCKS:
        if not done or done[-1].section != block.heading:
            MEANWHILE.get(block.heading, lambda _: None)(lasting_cloud)
        before = len(lasting_cloud.calls)
        code, output = pages.run(block.text, checkout, STAND_INS)
        done.append(Done(block.heading, code, output, lasting_cloud.calls[before:]))
        if code:
            return Life(done, registry.read_text(), [])
    left = [str(thing) for thing in inventory.things(Account(Settings()))]
    return Life(done, registry.read_text(), left)


def test_every_command_of_the_page_succeeds_and_nothing_is_left(life: Life) -> None:
    last = life.blocks[-1]

    assert last.code == 0, f"{last.section}:\n{last.output}"
    assert life.left == []


# What the page has no command for, and the test that has one.
ELSEWHERE = {
    "iam:GetRole": "test_doctor.py",
    "servicequotas:ListServiceQuotas": "test_doctor.py",
    "s3:AbortMultipartUpload": "test_deploy.py",
    "sagemaker:ListEndpoints": "test_explain_on_aws.py",
}


@pytest.mark.parametrize("name", ["operator", "administrator"])
def test_a_policy_allows_all_that_is_needed_and_nothing_else(life: Life, name: str) -> None:
    account = Account(Settings(account="123456789012", region="eu-central-1"))
    allowed = policies.actions(policies.all_of(account)[name])

    needed = life.needed(administrator=name == "administrator")

    missing, unused = sorted(needed - allowed), sorted(allowed - needed - ELSEWHERE.keys())
    assert not missing and not unused, f"missing: {missing}\nnever used: {unused}"


def test_what_stands_in_or_happens_meanwhile_is_of_the_page() -> None:
    commands = "".join(block.text for block in BLOCKS)

    assert not [word for word in STAND_INS if word not in commands]
    assert not (MEANWHILE.keys() | ADMINISTRATORS) - {block.heading for block in BLOCKS}


def test_what_the_page_has_no_command_for_is_asked_for_elsewhere(life: Life) -> None:
    for action, file in ELSEWHERE.items():
        assert action in (ROOT / "tests/aws" / file).read_text(encoding="utf-8"), action
    assert not ELSEWHERE.keys() & life.needed(administrator=False)  # the page asks for it now
