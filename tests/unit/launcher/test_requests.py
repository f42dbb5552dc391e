"""The requests are the very ones that the SageMaker API takes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.model import StringShape, StructureShape

from launcher import requests
from launcher.errors import SettingsError
from trainer.metrics import METRICS, metric_definitions

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


def training(**changes: Any) -> requests.Request:
    settings: dict[str, Any] = {
        "name": "dog-breeds-1",
        "image": "dog-breeds-train:latest",
        "channels": {"training": "s3://bucket/dogs"},
        "hyperparameters": {"epochs": 3},
        "metric_definitions": metric_definitions(),
        "output_uri": "s3://bucket/out",
    }
    return requests.training_job(**settings | changes)


def test_a_training_request_is_valid_by_botocores_own_model() -> None:
    request = training()

    assert requests.validate("CreateTrainingJob", request) is request


def test_a_misspelt_key_is_named() -> None:
    request = training() | {"StopingCondition": {}}

    with pytest.raises(SettingsError, match=r"CreateTrainingJob[\s\S]*StopingCondition"):
        requests.validate("CreateTrainingJob", request)


def test_a_nested_value_of_the_wrong_type_is_named() -> None:
    with pytest.raises(SettingsError, match=r"ResourceConfig\.VolumeSizeInGB"):
        requests.validate("CreateTrainingJob", training(volume_gb="fifty"))


@pytest.mark.parametrize("name", ["with_underscore", "-dash", "x" * 64, ""])
def test_a_job_name_that_the_service_would_refuse_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match="TrainingJobName"):
        requests.validate("CreateTrainingJob", training(name=name))


def test_the_input_modes_are_the_platforms() -> None:
    shape = requests.operation_shape("CreateTrainingJob").members["AlgorithmSpecification"]
    assert isinstance(shape, StructureShape)
    modes = shape.members["TrainingInputMode"]
    assert isinstance(modes, StringShape)
    assert set(requests.INPUT_MODES) < set(modes.enum)


def test_checkpoints_instances_disk_and_input_mode_are_in_the_request() -> None:
    request = requests.validate(
        "CreateTrainingJob",
        training(checkpoints="s3://bucket/kept", instance_count=2, volume_gb=5, input_mode="FastFile"),
    )

    assert request["CheckpointConfig"] == {"S3Uri": "s3://bucket/kept", "LocalPath": "/opt/ml/checkpoints"}
    assert request["ResourceConfig"]["InstanceCount"] == 2
    assert request["ResourceConfig"]["VolumeSizeInGB"] == 5
    assert request["AlgorithmSpecification"]["TrainingInputMode"] == "FastFile"


@pytest.mark.parametrize(
    ("instance_type", "key", "sent"),
    [
        ("ml.p3.2xlarge", KEY, KEY),
        ("ml.g4dn.xlarge", KEY, None),
        ("ml.g5.xlarge", "alias/dogs", None),
        ("ml.m5d.large", KEY, None),
    ],
)
def test_a_key_is_for_disks_that_the_hardware_does_not_encrypt(
    instance_type: str, key: str, sent: str | None
) -> None:
    request = training(instance_type=instance_type, kms_key=key)

    assert request["ResourceConfig"].get("VolumeKmsKeyId") == sent
    assert request["OutputDataConfig"]["KmsKeyId"] == key


def test_an_alias_is_no_key_of_a_trainings_disks() -> None:
    with pytest.raises(SettingsError, match="a training's disks take no alias, as alias/dogs is"):
        training(instance_type="ml.p3.2xlarge", kms_key="alias/dogs")


def test_every_metric_of_the_trainer_is_asked_for() -> None:
    definitions = training()["AlgorithmSpecification"]["MetricDefinitions"]

    assert [definition["Name"] for definition in definitions] == [metric.name for metric in METRICS]


def test_what_is_not_given_is_not_sent() -> None:
    request = training(hyperparameters={})

    assert request["HyperParameters"] == {}
    assert "CheckpointConfig" not in request


ODD_VALUES = {
    "plain": "resnet50",
    "spaces": "  two  words ",
    "quotes": 'it\'s "quoted"',
    "unicode": "Affenpinscher – Зенненхунд 🐕",
    "json": '{"a": [1, 2]}',
    "word": "true",
    "null": "null",
    "newline": "a\nb",
    "backslash": r"C:\dogs",
    "dashes": "--epochs",
    "empty": "",
    "whole": "007",
    "scientific": "1e-3",
    "number": "0.003",
    "negative": "-1",
    "huge": "1" * 400,
}


def test_odd_values_reach_the_training_program_as_they_were_typed(tmp_path: Path) -> None:
    typed = {name: requests.number_or_text(text) for name, text in ODD_VALUES.items()}
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/hyperparameters.json").write_text(
        json.dumps(requests.encode_hyperparameters(typed))
    )
    decode = (
        "import json; from sagemaker_training import environment, mapping;"
        "print(json.dumps(mapping.to_cmd_args(environment.read_hyperparameters())))"
    )

    toolkit = subprocess.run(
        [sys.executable, "-c", decode],
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    arguments = json.loads(toolkit.stdout.splitlines()[-1])
    assert dict(zip(arguments[::2], arguments[1::2], strict=True)) == {
        f"--{name}": text for name, text in ODD_VALUES.items()
    }


def test_a_plain_number_is_a_number_in_the_request() -> None:
    typed = {name: requests.number_or_text(text) for name, text in {"epochs": "3", "rate": "0.0295"}.items()}

    assert requests.encode_hyperparameters(typed) == {"epochs": "3", "rate": "0.0295"}


def test_a_file_uri_leads_to_its_path_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "dogs & cats ü#1%20"

    assert requests.local_path(folder.as_uri()) == folder


@pytest.mark.parametrize("uri", ["s3://bucket/dogs", "file://elsewhere/dogs", "/dogs"])
def test_the_local_backends_refuse_what_is_not_on_this_machine(uri: str) -> None:
    with pytest.raises(SettingsError, match="file://"):
        requests.local_path(uri)
