"""train_model.py and hpo.py, run as a person runs them: what they leave, and how they refuse."""

import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from launcher import artifact, model_card
from trainer.metrics import metric_definitions

CODE = Path(__file__).parents[3] / "container_train"
QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "2", "--learning-rate", "0.1", "--batch-size", "8")


def run(program: str, *arguments: str | Path, base: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CODE / program, *arguments],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), "TRAINER_CACHE_DIR": str(base / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def reported(output: str) -> list[set[str]]:
    lines = [line for line in output.splitlines() if line.startswith("[metrics]")]
    return [
        {entry["Name"] for entry in metric_definitions() if re.search(entry["Regex"], line)} for line in lines
    ]


EXTRACTION = {"extract:images_per_second"}
EPOCH = {
    "train:loss", "train:accuracy", "train:images_per_second", "train:data_wait",
    "validation:loss", "validation:accuracy",
}  # fmt: skip
KEPT = EPOCH  # the best epoch's figures once more: the latest value is what the platform takes
TEST = {"test:loss", "test:accuracy", "test:top5_accuracy", "test:expected_calibration_error"}


def test_training_leaves_an_artifact_predictions_and_metrics(pictures: Path, tmp_path: Path) -> None:
    (pictures / "train" / "003.blue" / "text.jpg").write_text("no picture")
    model, results = tmp_path / "model", tmp_path / "results"
    arguments = ("--data", pictures, "--model-dir", model, "--output-data-dir", results)

    done = run("train_model.py", *QUICK, *arguments, "--max-unreadable", "0.05", base=tmp_path / "unused")

    assert done.returncode == 0, done.stderr
    assert "efficientnet_lite0: weights from image" in done.stderr
    assert "left out 1 unreadable file(s): train/003.blue/text.jpg" in done.stderr
    assert reported(done.stdout) == [*[EXTRACTION] * 3, EPOCH, EPOCH, KEPT, TEST]
    description = json.loads((model / "artifact.json").read_text())
    assert "# efficientnet" in model_card.write(artifact.read((model / "artifact.json").read_bytes()))
    assert description["training_run"]["pictures"] == {"train": 24, "valid": 9, "test": 9}
    assert description["metrics"].keys() == EPOCH | TEST
    assert description["metrics"]["test:accuracy"] > 0.8
    assert description["training_run"]["hyperparameters"]["epochs"] == 2
    assert description["backbones"][0]["weights_sha256"].startswith("57934424")
    with (results / "test_predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    probabilities = np.load(results / "test_probabilities.npy", allow_pickle=False)
    assert probabilities.shape == (9, 3)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    names = [entry["name"] for entry in description["classes"]]
    assert [row["predicted"] for row in rows] == [names[best] for best in probabilities.argmax(1)]
    assert all(row["file"].startswith(f"test/{row['target']}/") for row in rows)
    assert "text.jpg" in (results / "quarantine.csv").read_text()


def test_a_job_with_the_feature_cache_answers_like_one_without(pictures: Path, tmp_path: Path) -> None:
    """Both in float32, of the centre view; cached features come from OpenVINO, the others from PyTorch."""
    found = {}
    for cached in ("true", "false"):
        base = tmp_path / cached
        arguments = ("--data", pictures, "--feature-cache", cached, "--mixed-precision", "false")
        places = ("--model-dir", base / "model", "--output-data-dir", base / "results")
        done = run("train_model.py", *QUICK, *arguments, *places, base=base)
        assert done.returncode == 0, done.stderr
        assert ("features of train" in done.stderr) == (cached == "true")
        metrics = json.loads((base / "model/artifact.json").read_text())["metrics"]
        found[cached] = np.load(base / "results/test_probabilities.npy", allow_pickle=False), metrics

    (with_cache, one), (without, other) = found["true"], found["false"]
    assert np.abs(with_cache - without).max() < 1e-3
    for name in ("validation:accuracy", "validation:loss", "train:loss", "test:loss"):
        assert one[name] == pytest.approx(other[name], abs=1e-3), name


def test_hosts_with_different_pictures_do_not_train(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "other")
    spoilt = min((tmp_path / "other/train").rglob("*.jpg"))
    spoilt.write_bytes(b"")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = []
    for rank, data in enumerate((pictures, tmp_path / "other")):
        base = tmp_path / f"host{rank}"
        own = {"RANK": str(rank), "GROUP_RANK": str(rank), "SAGEMAKER_BASE_DIR": str(base)}
        common = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
        arguments = ("--data", data, "--cache", base / "cache", "--max-unreadable", "0.5")
        hosts.append(
            subprocess.Popen(
                [sys.executable, CODE / "hpo.py", *QUICK, *arguments],
                env={**os.environ, **own, **common, "MASTER_PORT": str(port)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    errors = [host.communicate(timeout=200)[1] for host in hosts]

    assert [host.returncode for host in hosts] == [1, 1], errors
    assert "other/train on this host are not the 24 of the first host" in errors[1]
    assert f"left out here: {spoilt.relative_to(tmp_path / 'other')} (empty file)" in errors[1]
    assert "are not the 24" in errors[0]  # the reason is told on every host


def test_a_trial_reports_without_test_pictures_and_exports_nothing(pictures: Path, tmp_path: Path) -> None:
    (pictures / "test").rename(tmp_path / "kept away")

    done = run("hpo.py", *QUICK, "--data", pictures, base=tmp_path)

    assert done.returncode == 0, done.stderr
    assert reported(done.stdout) == [*[EXTRACTION] * 2, EPOCH, EPOCH, KEPT]
    result = json.loads((tmp_path / "output" / "data" / "result.json").read_text())
    assert result["hyperparameters"]["learning-rate"] == 0.1
    assert result["metrics"]["validation:accuracy"] > 0.8
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--batch-size", "0"], 2, "error: batch-size must be a number from 1, not 0"),
        (["--bogus", "1"], 2, "error: unrecognized arguments: --bogus 1 (see train_model.py --help)"),
        (["--backbone", "resnet5O"], 2, "error: unknown backbone 'resnet5O': the known ones are resnet50, "),
        (["--weights", "none"], 1, "error: there is no data folder "),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    done = run("train_model.py", *arguments, base=tmp_path)

    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr


def empty_a_class(data: Path) -> None:
    for file in (data / "train/003.blue").iterdir():
        file.unlink()


def lose_a_class(data: Path) -> None:
    shutil.rmtree(data / "valid/003.blue")


def spoil_every_file(data: Path) -> None:
    for file in (data / "train").rglob("*.jpg"):
        file.write_text("no picture")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty_a_class, "the class folder DATA/train/003.blue is empty; put pictures into it"),
        (lose_a_class, "DATA/valid has other classes than DATA/train: 003.blue missing"),
        (spoil_every_file, "none of the 24 files in DATA/train can be read as a picture: train/001.red_"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_fails_and_leaves_no_model(
    pictures: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(pictures)

    done = run("train_model.py", "--weights", "none", *QUICK, "--data", pictures, base=tmp_path / "ml")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: " + message.replace("DATA", str(pictures)))
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ml" / "model").exists()


def test_the_help_shows_every_default() -> None:
    done = run("train_model.py", "--help", base=Path("/nowhere"))

    assert done.returncode == 0
    assert done.stdout.count("(default:") == 34 + 6
