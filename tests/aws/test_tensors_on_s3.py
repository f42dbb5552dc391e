"""A trial that the platform has uploaded is read from S3 by smdebug as it is from the folder."""

from pathlib import Path

import boto3
import pytest
from observed_training import Training

from trainer.hook import DebugSettings
from trainer.smdebug_support import ModeKeys, create_trial

REGION = "eu-central-1"


@pytest.mark.usefixtures("cloud")
def test_smdebug_reads_the_trial_from_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    training = Training(tmp_path, debug=DebugSettings(interval=8))
    training.run(epochs=1)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="job", CreateBucketConfiguration={"LocationConstraint": REGION})
    for file in training.tensors.rglob("*"):
        if file.is_file():
            s3.upload_file(str(file), "job", f"debug-output/{file.relative_to(training.tensors)}")

    uploaded = create_trial("s3://job/debug-output")

    kept = create_trial(str(training.tensors))
    assert uploaded.steps(mode=ModeKeys.TRAIN) == kept.steps(mode=ModeKeys.TRAIN) == [0, 8, 16, 24]
    assert uploaded.tensor_names() == kept.tensor_names()
    name = "gradient/Classifier_head.weight"
    norms = [trial.tensor(name).reduction_value(16, "l2") for trial in (uploaded, kept)]
    assert norms[0] == norms[1] > 0
