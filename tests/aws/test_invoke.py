"""invoke.py and endpoints of SageMaker: variants, multi-model, asynchronous, comparisons, files in S3."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import script
from cloud import Answer, Call, Cloud, times
from endpoint_life import EndpointLife
from PIL import Image
from running_server import RunningServer
from script import Ended
from small_endpoint import TOP, Script, SmallEndpoint
from tiny_artifact import CLASSES, write_tiny_artifact

ROOT = Path(__file__).parents[2]
SETTINGS = str(ROOT / "tests/golden/settings.toml")
BUCKET = "dog-breeds-123456789012-eu-central-1"


class Contrary(SmallEndpoint):
    """Takes every dog for what the other one takes for the least probable."""

    def answer(self, attributes: str) -> tuple[int, Script]:
        return 200, {"predictions": [{"top": TOP[::-1]}]}


@pytest.fixture
def variants(cloud: Cloud) -> Iterator[dict[str, SmallEndpoint]]:
    """An endpoint `dogs` with two variants."""
    with SmallEndpoint() as a, Contrary() as b:
        cloud.endpoints |= {"dogs/A": a.url, "dogs/B": b.url}
        yield {"A": a, "B": b}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.jpg"
    Image.new("RGB", (40, 30), "brown").save(path)
    return path


def invoke(*arguments: str | Path) -> Ended:
    return script.run("invoke", *map(str, arguments))


def dogs(*arguments: str | Path) -> Ended:
    return invoke(*arguments, "--endpoint-name", "dogs", "--settings", SETTINGS)


def bucket(*names: str, body: bytes = b"") -> None:
    where = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    for name in names:
        boto3.client("s3").put_object(Bucket=BUCKET, Key=name, Body=body)


@pytest.mark.usefixtures("variants")
def test_the_variant_that_answered_is_told_and_can_be_chosen(picture: Path) -> None:
    several = dogs(*[picture] * 30, "--format", "json", "--latency")

    assert several.returncode == 0, several.stderr
    answers = json.loads(several.stdout)
    assert {answer["variant"]: answer["top"][0]["label"] for answer in answers} == {
        "A": "Affenpinscher",
        "B": "Akita",
    }
    assert [line.partition(":")[0] for line in several.stderr.splitlines()] == [
        "latency",
        "latency of A",
        "latency of B",
    ]
    assert "30 answers" in several.stderr
    chosen = dogs(picture, "--variant", "B", "--format", "csv", "--top-k", "1")
    assert chosen.stdout.splitlines() == [
        "file,rank,name,label,probability,error,variant",
        f"{picture},1,005.Akita,Akita,0.0001,,B",
    ]
    assert "variant" in dogs(picture).stdout


@pytest.mark.usefixtures("variants")
def test_what_is_not_there_is_said(picture: Path) -> None:
    unknown = dogs(picture, "--variant", "C")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "error: there is no endpoint dogs with a variant C in this account and region\n",
    )
    nowhere = invoke(picture, "--endpoint-name", "cats", "--settings", SETTINGS)
    assert nowhere.returncode == 2
    assert "there is no endpoint cats in this account and region" in nowhere.stderr


def test_a_picture_that_the_container_refuses_costs_only_itself(
    variants: dict[str, SmallEndpoint], picture: Path
) -> None:
    variants["A"].refusal = (400, "bad_request", "not a picture")

    done = dogs(picture, "--variant", "A", "--format", "json")

    assert done.returncode == 1
    assert json.loads(done.stdout) == [{"file": str(picture), "error": "400 bad_request: not a picture"}]


def test_a_container_that_fails_and_expired_credentials_end_it(
    cloud: Cloud, variants: dict[str, SmallEndpoint], picture: Path
) -> None:
    variants["A"].refusal = (500, "internal", "see the log")
    failed = dogs(picture, "--variant", "A")
    assert (failed.returncode, failed.stderr) == (
        1,
        "error: the endpoint failed: 500 internal: see the log\n",
    )

    expired = Answer({"message": "expired"}, 403, {"x-amzn-errortype": "ExpiredTokenException"})
    cloud.replies["sagemaker:InvokeEndpoint"] = lambda _: expired
    assert "the AWS credentials are not valid any more" in dogs(picture).stderr


@pytest.mark.usefixtures("variants")
def test_throttling_is_waited_out(cloud: Cloud, picture: Path) -> None:
    slow = Answer({"message": "Rate exceeded"}, 400, {"x-amzn-errortype": "ThrottlingException"})
    cloud.replies["sagemaker:InvokeEndpoint"] = times(2, slow)

    assert dogs(picture).returncode == 0


def test_one_of_many_models_is_asked_by_its_archives_name(cloud: Cloud, picture: Path) -> None:
    with SmallEndpoint() as many:
        cloud.endpoints["dogs"] = many.url

        done = dogs(picture, "--target-model", "poodles.tar.gz")

    assert done.returncode == 0, done.stderr
    [(_, headers, _)] = many.asked
    assert headers["x-amzn-sagemaker-target-model"] == "poodles.tar.gz"


@pytest.mark.usefixtures("variants")
def test_a_prefix_of_s3_is_asked_about_under_its_own_names(picture: Path) -> None:
    bucket("photos/a.jpg", "photos/more/b.JPG", "photos/notes.txt", body=picture.read_bytes())

    below = dogs(f"s3://{BUCKET}/photos/", "--format", "json")
    assert [answer["file"] for answer in json.loads(below.stdout)] == [
        f"s3://{BUCKET}/photos/a.jpg",
        f"s3://{BUCKET}/photos/more/b.JPG",
    ]
    alone = dogs(f"s3://{BUCKET}/photos/more/b.JPG", "--format", "json")
    assert [answer["file"] for answer in json.loads(alone.stdout)] == [f"s3://{BUCKET}/photos/more/b.JPG"]
    none = dogs(f"s3://{BUCKET}/elsewhere")
    assert none.returncode == 2
    assert f"s3://{BUCKET}/elsewhere has no pictures" in none.stderr


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Fourteen pictures of what A always says, three of what B does."""
    folder = tmp_path / "test"
    for name, count in (("001.Affenpinscher", 14), ("005.Akita", 3)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 30), (number, 0, 0)).save(folder / name / f"{number}.png")
    return folder


def test_two_variants_are_compared_with_a_test(variants: dict[str, SmallEndpoint], labelled: Path) -> None:
    done = dogs(labelled, "--compare", "A", "B")

    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[:4] == [
        "17 pictures asked of both A and B",
        "accuracy of A: 82.35% (14 right)",
        "accuracy of B: 17.65% (3 right)",
        "they agree on 0.00%; only A is right 14 times, only B 3 times",
    ]
    assert said[4].startswith("A is better: ") and " in 0.013 of such comparisons" in said[4]
    assert said[5].startswith("latency: A ")
    assert [len(each.asked) for each in variants.values()] == [17, 17]


def test_two_urls_are_compared_as_well(variants: dict[str, SmallEndpoint], labelled: Path) -> None:
    urls = [each.url for each in variants.values()]

    found = json.loads(invoke(labelled, "--compare", *urls, "--format", "json").stdout)

    assert (found["only_a"], found["only_b"], found["a"]) == (14, 3, urls[0])


def test_folders_that_are_no_classes_are_named(variants: dict[str, SmallEndpoint], labelled: Path) -> None:
    urls = [each.url for each in variants.values()]
    (labelled / "005.Akita").rename(labelled / "akita")

    in_part = invoke(labelled, "--compare", *urls).stdout
    (labelled / "001.Affenpinscher").rename(labelled / "affenpinscher")
    in_all = invoke(labelled, "--compare", *urls).stdout
    flat = invoke(labelled / "akita", "--compare", *urls)

    assert "no answer names akita: where the model has no such class" in in_part
    assert "no answer names affenpinscher, akita: where the model has no such class" in in_all
    assert flat.returncode == 2
    assert f"{labelled / 'akita'} holds no folders: name one that holds a folder for each" in flat.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--endpoint-name dogs --compare A A", "--compare: A is named twice"),
        ("--variant A", "--variant: only with --endpoint-name"),
        ("--async", "--async: only with --endpoint-name"),
        ("--endpoint-name dogs --async --variant A", "--async and --variant do not go together"),
        ("--endpoint-name dogs --compare A B --variant A", "--compare and --variant do not go together"),
        ("--endpoint-name dogs --compare A B --format csv", "--compare has no --format csv: table or json"),
        ("--endpoint-name dogs --compare A B", "--compare takes folders that hold a folder for each class"),
    ],
)
def test_options_that_do_not_go_together_are_named(picture: Path, line: str, said: str) -> None:
    done = invoke(picture, *line.split())

    assert done.returncode == 2
    assert said in done.stderr


def test_an_asynchronous_endpoint_is_asked_through_s3_and_a_real_server_answers(
    cloud: Cloud, tmp_path: Path, picture: Path
) -> None:
    bucket()
    EndpointLife(cloud, "eu-central-1")
    model = str(ROOT / "tests/golden/model.tar.gz")
    made = script.run(
        "deploy", "--backend", "aws", "--settings", SETTINGS, "--name", "dogs", "--model", model, "--async"
    )
    assert made.returncode == 0, made.stderr
    (tmp_path / "bad.jpg").write_bytes(b"no picture at all")
    write_tiny_artifact(tmp_path / "model")
    with RunningServer(tmp_path) as server:
        server.wait_until_ready()
        cloud.endpoints["dogs"] = f"http://127.0.0.1:{server.port}"

        done = dogs(picture, tmp_path / "bad.jpg", "--async", "--format", "json")

    assert done.returncode == 1, done.stderr
    good, bad = json.loads(done.stdout)
    assert {ranked["name"] for ranked in good["top"]} < set(CLASSES)
    assert "bad_request" in bad["error"]
    (left,) = bodies()  # that of the failure, to look into
    assert f"what it was asked stays at s3://{BUCKET}/{left}" in bad["error"]


def bodies() -> list[str]:
    """The keys of what asynchronous endpoints were asked and has not been removed."""
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="requests/")
    return [each["Key"] for each in listed.get("Contents", [])]


def test_an_asynchronous_request_that_is_refused_leaves_nothing(cloud: Cloud, picture: Path) -> None:
    bucket()
    refusal = Answer({"message": "Endpoint dogs not found"}, 400, {"x-amzn-errortype": "ValidationError"})
    cloud.replies["sagemaker:InvokeEndpointAsync"] = lambda _: refusal

    done = dogs(picture, "--async")

    assert done.returncode == 2
    assert "there is no endpoint dogs in this account and region" in done.stderr
    assert bodies() == []


def test_ctrl_c_says_where_an_asynchronous_answer_will_be_and_what_was_asked(
    cloud: Cloud, picture: Path
) -> None:
    bucket()
    output, asked = f"s3://{BUCKET}/answers/dogs/1.out", threading.Event()

    def take(_: Call) -> Answer:
        asked.set()
        return Answer({"InferenceId": "id"}, 202, {"X-Amzn-SageMaker-OutputLocation": output})

    cloud.replies["sagemaker:InvokeEndpointAsync"] = take
    command = [sys.executable, ROOT / "scripts/invoke.py", picture, "--endpoint-name", "dogs", "--async"]
    process = subprocess.Popen([*command, "--settings", SETTINGS], stderr=subprocess.PIPE, text=True)
    assert asked.wait(120)
    while not [call for call in cloud.calls if call.action == "s3:GetObject"]:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)

    assert process.returncode == 130
    (left,) = bodies()
    assert said.splitlines() == [
        "stopped by Ctrl-C",
        f"what was asked stays at s3://{BUCKET}/{left}, and its answer will be {output}",
    ]


@pytest.mark.usefixtures("variants")
def test_a_dry_run_shows_what_is_then_sent(cloud: Cloud, picture: Path) -> None:
    line = (picture, "--variant", "B", "--format", "json")

    shown = json.loads(dogs(*line, "--dry-run").stdout)
    asked_before = [call.action for call in cloud.calls]
    assert dogs(*line).returncode == 0

    (call,) = [call for call in cloud.calls if call.action == "sagemaker:InvokeEndpoint"]
    assert asked_before == []
    assert shown == {
        "EndpointName": call.path.split("/")[2],
        "Body": f"{len(call.body):,} bytes",
        "ContentType": call.headers["content-type"],
        "Accept": call.headers["accept"],
        "TargetVariant": call.headers["x-amzn-sagemaker-target-variant"],
    }
