"""The command line of a search: what it makes of a request, and what it refuses."""

import argparse
import json
from pathlib import Path

import pytest
import small_search

from launcher import search_arguments, training_arguments
from launcher.errors import SettingsError
from launcher.requests import Request


def parse(*given: str | Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    search_arguments.add(parser)
    parser.add_argument("--dry-run", action="store_true")
    return search_arguments.parse(parser, [str(each) for each in given])


def request_of(*given: str | Path) -> Request:
    return search_arguments.request_of(parse(*given), print)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The request.json of an earlier search."""
    file = tmp_path / "request.json"
    file.write_text(json.dumps(small_search.request(tmp_path, "first")))
    return file


def test_a_kept_request_is_carried_out_once_more_under_another_name(kept: Path) -> None:
    again = request_of("--request", kept, "--job-name", "again")

    first = json.loads(kept.read_text())
    assert again == first | {"HyperParameterTuningJobName": "again"}
    assert request_of("--request", kept) == first


def test_a_kept_requests_new_name_is_checked(kept: Path) -> None:
    with pytest.raises(SettingsError, match="HyperParameterTuningJobName"):
        request_of("--request", kept, "--job-name", "not a name")


@pytest.mark.parametrize("start", ["--request", "--attach", "--stop"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--max-trials", "3"], "--max-trials"),
        (["--image", "other", "--backbone", "resnet50"], "--backbone, --image"),
        (["--instances", "1"], "--instances"),  # the default, but not what the request has
        (["--set", "seed=1", "--set", "dropout=0"], "--set"),
        (["--warm-start", "one", "two"], "--warm-start"),
    ],
)
def test_an_option_that_a_settled_request_would_ignore_is_refused(
    start: str, options: list[str], named: str
) -> None:
    with pytest.raises(SettingsError, match=f"{start} excludes {named}: what it names is there already"):
        parse(start, "name", *options)


@pytest.mark.parametrize("option", [["--dry-run"], ["--job-name", "other"]])
def test_a_search_that_was_begun_keeps_its_name_and_prints_no_request(option: list[str]) -> None:
    with pytest.raises(SettingsError, match=f"--attach excludes {option[0]}"):
        parse("--attach", "name", *option)


def test_where_a_settled_request_is_carried_out_can_be_said() -> None:
    given = parse(
        "--attach", "name", "--backend", "process", "--output", "elsewhere", "--storage", "sqlite://"
    )

    assert (given.backend, given.output, given.storage) == ("process", Path("elsewhere"), "sqlite://")
    assert (given.instances, given.set, given.dry_run) == (None, [], False)


SETTINGS = Path(__file__).parents[2] / "golden/settings.toml"
ON_AWS = ("--backend", "aws", "--settings", SETTINGS)


def test_what_lies_on_this_machine_is_refused_for_a_search_on_aws(kept: Path, tmp_path: Path) -> None:
    in_s3 = ["--data", "s3://bucket/dogs"]

    with pytest.raises(SettingsError) as refused:
        request_of(*ON_AWS, *in_s3, "--pretrained", tmp_path, "--checkpoints", tmp_path / "kept")
    with pytest.raises(SettingsError) as refused_file:
        request_of("--backend", "aws", "--request", kept)

    assert str(refused.value).splitlines() == [
        "a search on AWS takes s3:// URIs only:",
        f"  the channel pretrained: {tmp_path.as_uri()}",
        f"  the checkpoints: {(tmp_path / 'kept').as_uri()}",
        "scripts/prepare_data.py --data FOLDER --upload brings photographs there and prints their URI",
    ]
    assert f"the output: {tmp_path.as_uri()}" in str(refused_file.value)
    assert request_of(*ON_AWS, *in_s3)["HyperParameterTuningJobConfig"]["Strategy"] == "Bayesian"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--role", "arn:x", "--instance-type", "ml.m5.xlarge"],
            "--instance-type, --role: only --backend aws",
        ),
        (["--s3-output", "s3://bucket/out", "--backend", "process"], "--s3-output: only --backend aws"),
        (["--no-spot"], "--spot: only --backend aws takes this"),
        (["--settings", "mine.toml"], "--settings: only --backend aws takes this"),
        (["--backend", "aws", "--storage", "sqlite://"], "--storage is for a search on this machine"),
    ],
)
def test_an_option_that_the_backend_would_ignore_is_refused(options: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse("--data", "s3://bucket/dogs", *options)


def test_a_search_and_a_job_on_aws_are_placed_alike() -> None:
    common = [*ON_AWS, "--data", "s3://bucket/dogs", "--job-name", "dogs", "--instances", "2", "--no-spot"]

    search = request_of(*common)
    parser = argparse.ArgumentParser()
    training_arguments.add(parser)
    parser.add_argument("--dry-run", action="store_true")
    job = training_arguments.request_of(training_arguments.parse(parser, list(map(str, common))))

    definition = search["TrainingJobDefinition"]
    own = {"Environment", "CheckpointConfig"}  # of a search none is kept unless it is asked for
    assert {key for key in definition if definition[key] != job.get(key)} == {"StaticHyperParameters"} | (
        own & definition.keys()
    )
    assert search["Tags"] == job["Tags"] == [{"Key": "project", "Value": "dog-breeds"}]


IN_S3 = ("--data", "s3://bucket/dogs")


def test_a_hyperparameter_that_is_given_is_not_searched_and_that_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "settings.json").write_text('{"batch-size": 32}')

    request = request_of(*IN_S3, "--epochs", "10", "--hyperparameters", tmp_path / "settings.json")

    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert [each["Name"] for kind in ranges.values() for each in kind] == ["learning-rate"]
    assert request["TrainingJobDefinition"]["StaticHyperParameters"] == {"batch-size": "32", "epochs": "10"}
    assert capsys.readouterr().out == "not searched, as their values are given: batch-size, epochs\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "batch-size=abc"], "batch-size must be a whole number"),
        (
            ["--set", "batch-size=8", "--epochs", "2", "--learning-rate", "0.1"],
            "nothing is left to search: batch-size, epochs, learning-rate are given a value",
        ),
    ],
)
def test_a_value_that_ends_the_search_of_a_hyperparameter_is_checked(options: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        request_of(*IN_S3, *options)
