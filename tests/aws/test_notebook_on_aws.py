"""The guided tour with WHERE=aws: every cell runs, against an account on this machine."""

import json
from pathlib import Path
from typing import Any

import boto3
import meanwhile
import pytest
import script
from cloud import Cloud
from endpoint_life import EndpointLife
from executed import shows_pictures, text_of
from PIL import Image
from project_things import BUCKET

import drawn
from launcher import archives, notebook
from launcher.drawings import COATS


def model(folder: Path) -> Path:
    """The archive of a model, as far as it says what its classes are called."""
    (folder / "model").mkdir()
    classes = [{"name": name, "label": name.partition(".")[2]} for name in COATS]
    (folder / "model/artifact.json").write_text(json.dumps({"classes": classes}))
    archives.pack(folder / "model", folder / "model.tar.gz")
    return folder / "model.tar.gz"


def output(folder: Path) -> Path:
    """The archive of a job that has found something and drawn a plot."""
    report = folder / "left/data/report"
    report.mkdir(parents=True)
    Image.new("RGB", (50, 30), "white").save(report / "loss.png")
    found = [{"rule": "overfit", "step": 7, "says": "validation no longer improves"}]
    (report.parent / "findings.json").write_text(json.dumps(found))
    archives.pack(folder / "left", folder / "output.tar.gz")
    return folder / "output.tar.gz"


@pytest.fixture
def executed(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook, run in an account that has a bucket and an endpoint, and whose jobs do their work."""
    place = {"LocationConstraint": boto3.client("s3").meta.region_name}
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    EndpointLife(cloud, place["LocationConstraint"])
    there = script.run("deploy", "--backend", "aws", "--model", f"s3://{BUCKET}/models/old.tar.gz")
    assert there.returncode == 0, there.stderr
    meanwhile.a_trial(cloud)
    meanwhile.jobs_that_leave(cloud, output(tmp_path), model(tmp_path))
    meanwhile.serving(cloud)
    monkeypatch.setenv("WHERE", "aws")
    monkeypatch.setenv("BACKEND", "process")
    for name in ("DATA", "BACKBONE", "TRIALS"):
        monkeypatch.delenv(name, raising=False)
    drawn.whole(tmp_path / "data/drawn")
    book = notebook.read(notebook.FILE)
    notebook.execute(book, tmp_path)
    return book


def test_it_runs_from_top_to_bottom_on_aws_and_leaves_what_was_there_before(
    executed: Any, cloud: Cloud
) -> None:
    said = text_of(executed)
    expected = [
        "12 classes, 290 train, 72 valid, 72 test files",
        "2 files cannot be read\n  train/",
        f"s3://{BUCKET}/data/drawn: 432 files",
        "overfit at step 7: validation no longer improves",
        "72 pictures asked of both best and defaults",
        "removing both endpoints",
    ]
    assert not [line for line in expected if line not in said]
    assert shows_pictures(executed)
    with_best, with_defaults = cloud.asked("sagemaker:CreateTrainingJob")
    assert with_best["HyperParameters"]["learning-rate"] == "0.01"  # the trial's
    assert "learning-rate" not in with_defaults["HyperParameters"]
    (search,) = cloud.asked("sagemaker:CreateHyperParameterTuningJob")
    for job in (search["TrainingJobDefinition"], with_best, with_defaults):
        assert job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == f"s3://{BUCKET}/data/drawn"
    sagemaker = boto3.client("sagemaker")
    (endpoint,) = sagemaker.list_endpoints()["Endpoints"]
    assert endpoint["EndpointName"] == "dog-breeds"
    assert not cloud.asked("sagemaker:UpdateEndpoint")
    (model,) = sagemaker.list_models()["Models"]
    image = sagemaker.describe_model(ModelName=model["ModelName"])["PrimaryContainer"]
    assert image["ModelDataUrl"] == f"s3://{BUCKET}/models/old.tar.gz"
