"""What train_model.py tells of itself: report and files, also when it fails, and from several processes."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trainer.smdebug_support import ModeKeys
from trainer.trial_steps import is_trial, saved_steps

CODE = Path(__file__).parents[3] / "container_train"
QUICK = (
    "--backbone=efficientnet_lite0", "--weights=none", "--epochs=3", "--batch-size=4", "--workers=0",
    "--resize=64", "--crop=64", "--mixed-precision=false",
)  # fmt: skip


def train(
    base: Path,
    data: Path,
    *more: str,
    program: str = "train_model.py",
    launcher: Sequence[str] = (),
    python: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program in `base`; `python` is code that runs before it."""
    before = base / "before"
    before.mkdir(parents=True, exist_ok=True)
    (before / "sitecustomize.py").write_text(python)
    return subprocess.run(
        [sys.executable, *launcher, CODE / program, *QUICK, f"--data={data}", *more],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(before), str(CODE)]),
            "SAGEMAKER_BASE_DIR": str(base),
            "TRAINER_CACHE_DIR": str(base.parent / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def read(base: Path, name: str) -> Any:
    return json.loads((base / "output" / "data" / name).read_text())


def test_a_job_leaves_its_report(tmp_path: Path, pictures: Path) -> None:
    base = tmp_path / "job"

    done = train(base, pictures, "--profile-steps=3-5")

    assert done.returncode == 0, done.stderr
    results = base / "output" / "data"
    assert done.stderr.splitlines()[-1] == f"report: {results / 'report' / 'report.html'}"
    page = (results / "report" / "report.html").read_text()
    assert "efficientnet_lite0" in page
    run = read(base, "run.json")
    assert (run["status"], run["failure"], run["classes"]) == ("completed", None, 3)
    assert run["pictures"] == {"train": 24, "valid": 9, "test": 9}
    assert run["versions"].keys() >= {"python", "torch", "smdebug"}
    epochs = read(base, "history.json")["efficientnet_lite0"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    reported = [line for line in done.stdout.splitlines() if "epoch=2 " in line]
    assert f"validation:loss={epochs[1]['validation:loss']:.6g}" in reported[0]
    assert read(base, "profile.json")["steps"]["count"] == 18
    assert [entry["name"] for entry in read(base, "profile.json")["operators"]]
    assert (results / "trace.json").is_file()
    assert isinstance(read(base, "findings.json"), list)
    assert is_trial(results / "tensors")


def test_a_sound_training_on_photographs_raises_no_rule(tmp_path: Path, dogs: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / "dogs" / split).mkdir(parents=True)
        for breed in sorted((dogs / split).iterdir())[::10]:
            (tmp_path / "dogs" / split / breed.name).symlink_to(breed)
    base = tmp_path / "job"
    defaults = ("--weights=auto", "--epochs=3", "--batch-size=64", "--resize=256", "--crop=224")

    done = train(base, tmp_path / "dogs", *defaults)

    assert done.returncode == 0, done.stderr
    assert read(base, "run.json")["classes"] == 12
    assert read(base, "findings.json") == []


def test_switched_off_nothing_is_imported_or_left(tmp_path: Path, pictures: Path) -> None:
    base = tmp_path / "job"
    tell = """
import atexit, sys
atexit.register(lambda: print("imported:", sorted({"smdebug", "trainer.profiler"} & set(sys.modules))))
"""

    done = train(base, pictures, "--debug=false", "--profile=false", python=tell)

    assert done.returncode == 0, done.stderr
    assert "imported: []" in done.stdout
    left = {path.name for path in (base / "output" / "data").iterdir()}
    assert not left & {"tensors", "profile.json", "findings.json"}
    assert "report" in left


def test_a_trial_of_a_search_is_not_looked_at(tmp_path: Path, pictures: Path) -> None:
    base = tmp_path / "job"

    done = train(base, pictures, program="hpo.py")

    assert done.returncode == 0, done.stderr
    assert not (base / "output" / "data" / "tensors").exists()
    assert not (base / "output" / "data" / "report").exists()


def test_the_platforms_folder_for_tensors_is_used(tmp_path: Path, pictures: Path) -> None:
    base = tmp_path / "job"
    (base / "input" / "config").mkdir(parents=True)
    configuration = {
        "S3OutputPath": "s3://bucket/job", "LocalPath": "/opt/ml/output/tensors",
        "HookParameters": {"reductions": "mean,l2_norm"},
    }  # fmt: skip
    (base / "input" / "config" / "debughookconfig.json").write_text(json.dumps(configuration))

    done = train(base, pictures)

    assert done.returncode == 0, done.stderr
    assert is_trial(base / "output" / "tensors")
    assert not (base / "output" / "data" / "tensors").exists()


def test_a_broken_configuration_is_said_in_a_line_and_only_where_it_matters(
    tmp_path: Path, pictures: Path
) -> None:
    base = tmp_path / "job"
    (base / "input" / "config").mkdir(parents=True)
    (base / "input" / "config" / "debughookconfig.json").write_text("{not json")
    (base / "output" / "data" / "report").mkdir(parents=True)
    (base / "output" / "data" / "findings.json").write_text("[1]")

    on, off = train(base, pictures), train(base, pictures, "--debug=false", "--profile=false")

    assert on.returncode == 2
    assert "debughookconfig.json cannot be read" in on.stderr.splitlines()[-1]
    assert "Traceback" not in on.stderr
    assert off.returncode == 0, off.stderr
    assert not (base / "output" / "data" / "findings.json").exists()  # it was another job's


def test_a_failed_job_leaves_its_report_too(tmp_path: Path, pictures: Path) -> None:
    base = tmp_path / "job"

    done = train(base, pictures, "--model-dir=/dev/null/model")

    assert done.returncode == 1
    run = read(base, "run.json")
    assert run["status"] == "failed"
    assert run["failure"].startswith("NotADirectoryError: ")
    assert "NotADirectoryError" in (base / "output" / "data" / "report" / "report.html").read_text()
    assert len(read(base, "history.json")["efficientnet_lite0"]) == 3


def test_a_finding_stops_the_job_and_the_same_command_goes_on(tmp_path: Path, pictures: Path) -> None:
    base = tmp_path / "job"
    wild = ("--learning-rate=1000", "--epochs=8", f"--checkpoints={base / 'checkpoints'}")

    stopped = train(base, pictures, *wild, "--on-finding=stop")

    assert stopped.returncode == 1
    last = stopped.stderr.splitlines()[-1]
    assert last.startswith("error: stopped by a finding, after a checkpoint: ")
    assert read(base, "run.json")["status"] == "stopped by a finding"
    assert read(base, "findings.json")
    went_on = train(base, pictures, *wild)
    assert "going on from the checkpoint of step" in went_on.stderr
    assert [epoch["epoch"] for epoch in read(base, "history.json")["efficientnet_lite0"]] == list(range(1, 9))
    numbers = [step.number for step in saved_steps(base / "output" / "data" / "tensors")]
    assert len(numbers) == len(set(numbers))


def test_several_members_have_a_trial_each(tmp_path: Path, pictures: Path) -> None:
    base = tmp_path / "job"

    done = train(base, pictures, "--backbone=efficientnet_lite0,efficientnet_lite1", "--epochs=1")

    assert done.returncode == 0, done.stderr
    tensors = base / "output" / "data" / "tensors"
    assert {each.name for each in tensors.iterdir() if is_trial(each)} == {
        "efficientnet_lite0",
        "efficientnet_lite1",
    }
    assert read(base, "history.json").keys() == {"efficientnet_lite0", "efficientnet_lite1"}


def test_of_several_processes_the_first_one_saves(tmp_path: Path, pictures: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    every = ("--debug-interval=1", "--epochs=2")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2")

    one = train(alone, pictures, *every)
    two = train(together, pictures, *every, launcher=torchrun)

    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert two.stderr.count("report: ") == 1
    saved = [list(saved_steps(base / "output" / "data" / "tensors")) for base in (alone, together)]
    assert [step.number for step in saved[0]] == [step.number for step in saved[1]]
    for single, shared in zip(*saved, strict=True):
        name = "smdebug/reductions/l2/gradient/Classifier_head.weight"
        if single.mode == ModeKeys.TRAIN:  # the gradients of both processes together
            assert float(shared.values[name]) == pytest.approx(float(single.values[name]), rel=1e-3)
