"""The card of a model that lies in S3, or that a training job has left there."""

import tarfile
from pathlib import Path

import boto3
import script
from cloud import Cloud
from tiny_artifact import write_tiny_artifact

KEY = "out/dogs-1/output/model.tar.gz"


def test_a_model_in_s3_gets_its_card_and_one_that_is_not_there_is_named(cloud: Cloud, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(write_tiny_artifact(tmp_path / "model"), arcname="")
    s3 = boto3.client("s3")
    place = {"LocationConstraint": s3.meta.region_name}
    s3.create_bucket(Bucket="dogs", CreateBucketConfiguration=place)
    s3.upload_file(str(tmp_path / "model.tar.gz"), "dogs", KEY)

    card = script.run("model_card", f"s3://dogs/{KEY}")
    none = script.run("model_card", "s3://dogs/out/dogs-2/output/model.tar.gz")

    assert card.returncode == 0, card.stderr
    assert "The 6 classes: Affenpinscher, Afghan hound" in card.stdout
    assert none.returncode == 2
    assert "there is no model at s3://dogs/out/dogs-2/output/model.tar.gz" in none.stderr
