"""What the debugger saves, when, and what becomes of it when something is in its way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from observed_training import CLASSES, WIDTH, Training, rows
from torch import Tensor, nn

from trainer import debugger
from trainer.backbones import Classifier, new_head
from trainer.failures import UsageError
from trainer.hook import DebugSettings
from trainer.network import HeadOnly
from trainer.smdebug_support import VERSION, ModeKeys, create_trial
from trainer.tensor_rules import Health
from trainer.termination import Terminated
from trainer.trial_steps import saved_steps

ROOT = Path(__file__).parents[3]
CODE = ROOT / "container_train"
HEAD = "Classifier_head.weight"


def train_steps(folder: Path) -> list[int]:
    return [step.mode_step for step in saved_steps(folder) if step.mode == ModeKeys.TRAIN]


# ── smdebug itself ────────────────────────────────────────────────────────────────────────────────────────


def test_the_lock_and_the_image_have_the_one_smdebug_that_works() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]

    assert [each["version"] for each in locked if each["name"] == "smdebug"] == [VERSION]
    assert f"smdebug=={VERSION} " in (ROOT / "docker" / "train.txt").read_text()
    assert version("smdebug") == VERSION


def test_another_smdebug_is_refused(tmp_path: Path) -> None:
    metadata = tmp_path / "smdebug-1.0.12.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: smdebug\nVersion: 1.0.12\n")

    done = run_python("import trainer.smdebug_support", path=[tmp_path])

    assert done.returncode != 0
    assert "smdebug 1.0.12 is installed, and only 1.0.34 is known to work" in done.stderr


def test_protobuf_in_its_other_implementation_is_refused() -> None:
    done = run_python("import google.protobuf.message\nimport trainer.smdebug_support")

    assert "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python" in done.stderr.splitlines()[-1]


def run_python(code: str, *, path: list[Path] = []) -> subprocess.CompletedProcess[str]:  # noqa: B006 - only read
    environment = {
        name: value for name, value in os.environ.items() if name != "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
    }
    environment["PYTHONPATH"] = os.pathsep.join(str(each) for each in (*path, CODE))
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


# ── what is saved ─────────────────────────────────────────────────────────────────────────────────────────


def test_smdebug_reads_back_what_was_saved(tmp_path: Path) -> None:
    training = Training(tmp_path, debug=DebugSettings(interval=4))

    observer = training.run(epochs=2)

    trial = create_trial(str(training.tensors))
    assert (training.tensors / "training_job_end.ts").is_file()
    assert trial.steps(mode=ModeKeys.TRAIN) == list(range(0, 64, 4))
    assert trial.steps(mode=ModeKeys.EVAL) == [0, 1]
    assert trial.tensor_names(collection="losses") == ["CrossEntropyLoss_output_0"]
    assert trial.tensor_names(collection="weights") == [HEAD]
    assert trial.tensor_names(collection="biases") == ["Classifier_head.bias"]
    assert trial.tensor_names(collection="gradients") == [
        "gradient/Classifier_head.bias", "gradient/Classifier_head.weight",
    ]  # fmt: skip
    assert {"head_input_0", "head_output_0"} <= set(trial.tensor_names(collection="activations"))
    losses = trial.tensor("CrossEntropyLoss_output_0").values(mode=ModeKeys.EVAL)
    assert [float(losses[epoch]) for epoch in (0, 1)] == pytest.approx(
        [epoch["validation:loss"] for epoch in observer.epochs]
    )
    assert trial.tensor("class_counts").value(0).sum() == 2000


def test_reductions_are_those_of_the_tensors(tmp_path: Path) -> None:
    training = Training(tmp_path, debug=DebugSettings(interval=3, whole=True))
    training.run(epochs=1)

    trial = create_trial(str(training.tensors))

    for name in (HEAD, f"gradient/{HEAD}", f"update/{HEAD}", "head_input_0"):
        whole = trial.tensor(name).value(6)
        expected = {
            ("mean", False): whole.mean(),
            ("std", False): whole.std(ddof=1),
            ("min", False): whole.min(),
            ("max", False): whole.max(),
            ("l2", False): np.linalg.norm(whole),
            ("max", True): abs(whole).max(),
        }
        saved = {
            (kind, absolute): float(trial.tensor(name).reduction_value(6, kind, abs=absolute))
            for kind, absolute in expected
        }
        assert saved == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_weights_are_those_before_the_step_and_updates_what_it_changed(tmp_path: Path) -> None:
    training = Training(tmp_path, debug=DebugSettings(interval=1, whole=True))
    training.run(epochs=1, clip_gradients=0.01)

    steps = {
        step.mode_step: step.values for step in saved_steps(training.tensors) if step.mode == ModeKeys.TRAIN
    }

    assert not steps[0][HEAD].any()
    for step in range(31):
        np.testing.assert_allclose(
            steps[step][HEAD] + steps[step][f"update/{HEAD}"], steps[step + 1][HEAD], atol=1e-6
        )
    assert np.linalg.norm(steps[5][f"gradient/{HEAD}"]) > 0.1  # as it was before it was clipped


def network(channels: int = 8) -> Classifier:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3), nn.ReLU()]
    return Classifier(nn.Sequential(*layers), new_head(channels, CLASSES))


def pictures(count: int, seed: int) -> Any:
    split = rows(count, seed=seed)
    random = torch.Generator().manual_seed(seed)
    return replace(split, inputs=torch.randn(count, 3, 12, 12, generator=random))


def unfrozen(folder: Path, **changes: Any) -> Training:
    model = network()
    model.unfreeze("all")
    return Training(folder, pictures(64, 0), pictures(32, 1), model, **changes)


UNFROZEN: dict[str, Any] = {"unfreeze": "all", "feature_cache": False, "batch_size": 16, "epochs": 2}


def test_unfrozen_layers_and_chosen_activations(tmp_path: Path) -> None:
    training = unfrozen(tmp_path, debug=DebugSettings(interval=2, activations=r"backbone\.[13]$"))

    training.run(**UNFROZEN)

    names = set(create_trial(str(training.tensors)).tensor_names())
    assert {"gradient/Classifier_backbone.0.weight", "update/Classifier_backbone.2.bias"} <= names
    assert {"backbone.1_output_0", "dead/backbone.3_output_0", "Classifier_input_0"} <= names
    assert not any(name.startswith("backbone.0") for name in names)
    assert not any(layer._forward_hooks for layer in training.model.modules())


def test_bfloat16_is_saved(tmp_path: Path) -> None:
    training = unfrozen(
        tmp_path,
        debug=DebugSettings(interval=1, activations="backbone", whole=True),
        precision=torch.bfloat16,
    )

    training.run(**UNFROZEN)

    step = next(saved_steps(training.tensors))
    assert step.values["backbone.0_output_0"].dtype == np.float32
    assert np.isfinite(step.values[f"gradient/{HEAD}"]).all()


def test_a_batch_in_pieces_saves_what_the_whole_batch_does(tmp_path: Path) -> None:
    def limited(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        if len(inputs[0]) > 16 and layer.training:
            raise torch.OutOfMemoryError

    whole, pieces = (
        Training(tmp_path / name, debug=DebugSettings(interval=1), model=HeadOnly(new_head(WIDTH, CLASSES)))
        for name in ("whole", "pieces")
    )
    pieces.model.head.register_forward_pre_hook(limited)
    pieces.validation = rows(16, seed=1)
    for training in (whole, pieces):
        training.run(epochs=1)

    for one, other in zip(saved_steps(whole.tensors), saved_steps(pieces.tensors), strict=True):
        if one.mode == ModeKeys.TRAIN:
            assert one.values.keys() == other.values.keys()
            for name, value in one.values.items():
                np.testing.assert_allclose(value, other.values[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_looking_on_changes_nothing(tmp_path: Path) -> None:
    activations = DebugSettings(interval=1, whole=True, activations="backbone")
    seen = unfrozen(tmp_path / "seen", debug=activations, profiled=True)
    unseen = unfrozen(tmp_path / "unseen", debug=None)

    for training in (seen, unseen):
        training.run(**UNFROZEN, dropout=0.2, mixup=0.3, clip_gradients=0.5)

    weights = [dict(training.model.named_parameters()) for training in (seen, unseen)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# ── when it is saved ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let saving take its time: on a busy machine it is more than the share that is saving's."""
    for name in ("_FREE_SECONDS", "_FREE_AT_ONCE"):
        monkeypatch.setattr(debugger, name, 600.0)


@pytest.mark.usefixtures("unhurried")
def test_without_a_schedule_20_saves_share_an_epoch(tmp_path: Path) -> None:
    training = Training(tmp_path, rows(64 * 40))

    training.run(epochs=2)

    assert train_steps(training.tensors) == list(range(0, 80, 2))


def test_saving_that_takes_long_is_done_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(activations: Tensor) -> Health:
        time.sleep(0.2)
        return Health(0.0, 0.0)

    monkeypatch.setattr(debugger, "health", slow)
    training = Training(tmp_path)

    training.run(epochs=1)

    saved = train_steps(training.tensors)
    assert saved[0] == 0
    assert len(saved) < 6  # 0.4 seconds are free, and spread over the run


PLATFORM = {
    "S3OutputPath": "s3://bucket/job",
    "LocalPath": "/opt/ml/output/tensors",
    "HookParameters": {"reductions": "l2_norm", "train.save_interval": "8", "eval.save_interval": "1"},
    "CollectionConfigurations": [
        {"CollectionName": "losses"},
        {"CollectionName": "gradients", "CollectionParameters": {"train.save_interval": "16"}},
    ],
}


def configuration(folder: Path, content: object) -> Path:
    file = folder / "debughookconfig.json"
    file.write_text(json.dumps(content))
    return file


def test_the_platforms_configuration_goes_before_the_settings(tmp_path: Path) -> None:
    settings = DebugSettings(interval=3, configuration=configuration(tmp_path, PLATFORM))
    training = Training(tmp_path, debug=settings)

    training.run(epochs=1)

    steps = {
        step.mode_step: step.values for step in saved_steps(training.tensors) if step.mode == ModeKeys.TRAIN
    }
    assert list(steps) == [0, 8, 16, 24]
    assert "smdebug/reductions/l2/gradient/Classifier_head.weight" in steps[16]
    assert not any("gradient" in name for name in steps[8])
    assert not any("reductions/mean" in name for values in steps.values() for name in values)
    assert HEAD not in steps[0]  # no collection asks for weights


@pytest.mark.usefixtures("unhurried")
def test_a_platforms_configuration_without_a_schedule_leaves_it_to_the_time(tmp_path: Path) -> None:
    content = {**PLATFORM, "HookParameters": {"reductions": "l2_norm"}, "CollectionConfigurations": None}
    training = Training(tmp_path, debug=DebugSettings(configuration=configuration(tmp_path, content)))

    training.run(epochs=1)

    assert train_steps(training.tensors) == list(range(32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "must hold one JSON object"),
        ({"HookParameters": {"reductions": "highest"}}, "smdebug does not take"),
        ({"HookParameters": {"save_interval": "often"}}, "smdebug does not take"),
    ],
)
def test_a_configuration_that_smdebug_refuses_is_a_wrong_setting(
    tmp_path: Path, content: object, message: str
) -> None:
    training = Training(tmp_path, debug=DebugSettings(configuration=configuration(tmp_path, content)))

    with pytest.raises(UsageError, match=message):
        training.run()


@pytest.mark.parametrize("activations", ["layer9", "("])
def test_activations_of_no_layer_are_a_wrong_setting(tmp_path: Path, activations: str) -> None:
    with pytest.raises(UsageError, match="debug-activations"):
        Training(tmp_path, debug=DebugSettings(activations=activations)).run()


# ── interruptions ─────────────────────────────────────────────────────────────────────────────────────────


SPEEDS = ("scalar/train:images_per_second", "scalar/train:data_wait")


def digest(folder: Path) -> list[tuple[int, dict[str, bytes]]]:
    return [
        (step.number, {name: value.tobytes() for name, value in step.values.items() if name not in SPEEDS})
        for step in saved_steps(folder)
    ]


def test_a_run_that_was_stopped_leaves_the_trial_of_one_that_was_not(tmp_path: Path) -> None:
    whole = Training(tmp_path / "whole", debug=DebugSettings(interval=1))
    whole.run()
    stopped = Training(tmp_path / "stopped", debug=DebugSettings(interval=1))

    def stop_in_batch_40(number: int, inputs: Tensor) -> Tensor:
        stopped.stop.requested = stopped.stop.requested or number == 40
        return inputs

    stopped.training.on_batch = stop_in_batch_40
    with pytest.raises(Terminated):
        stopped.run()
    assert max(train_steps(stopped.tensors)) == 38  # batch 40 is step 39, which is given up
    again = Training(stopped.folder, debug=DebugSettings(interval=1))
    again.run()

    assert digest(again.tensors) == digest(whole.tensors)


def test_a_run_that_was_killed_leaves_the_trial_of_one_that_was_not(tmp_path: Path) -> None:
    whole = Training(tmp_path / "whole", debug=DebugSettings(interval=1))
    whole.run()
    killed = tmp_path / "killed"
    script = f"""
import os, signal
from pathlib import Path
from observed_training import Training
from trainer.hook import DebugSettings
training = Training(Path({str(killed)!r}), debug=DebugSettings(interval=1))
training.training.on_batch = lambda number, inputs: inputs if number < 45 else os.kill(os.getpid(), 9)
training.run(checkpoint_steps=30)
"""
    assert run_python(script, path=[Path(__file__).parent]).returncode == -signal.SIGKILL
    assert max(train_steps(killed / "tensors")) > 39  # further than the last checkpoint
    again = Training(killed, debug=DebugSettings(interval=1))
    observer = again.run(checkpoint_steps=30)

    assert digest(again.tensors) == digest(whole.tensors)
    assert [epoch["epoch"] for epoch in observer.epochs] == [1, 2, 3]


def test_steps_after_the_checkpoint_leave_the_trial_though_others_are_saved_instead(tmp_path: Path) -> None:
    stopped = Training(tmp_path, debug=DebugSettings(interval=1))

    def stop_in_batch_40(number: int, inputs: Tensor) -> Tensor:
        stopped.stop.requested = stopped.stop.requested or number == 40
        return inputs

    stopped.training.on_batch = stop_in_batch_40
    with pytest.raises(Terminated):
        stopped.run(checkpoint_steps=1000)
    for file in tmp_path.glob("checkpoints/step-00000039-*"):
        file.unlink()  # as if it had been killed: the one before is of the first epoch's end
    again = Training(tmp_path, debug=DebugSettings(interval=7))

    again.run(checkpoint_steps=1000)

    assert train_steps(again.tensors) == [*range(32), *range(35, 96, 7)]


def test_rules_remember_what_came_before_an_interruption(tmp_path: Path) -> None:
    training = Training(tmp_path, rows(200, noise=4.0), rows(500, seed=1, noise=4.0))
    settings = {"epochs": 80, "learning_rate": 0.03, "batch_size": 32}

    def stop_in_batch_250(number: int, inputs: Tensor) -> Tensor:
        training.stop.requested = training.stop.requested or number == 250
        return inputs

    training.training.on_batch = stop_in_batch_250
    with pytest.raises(Terminated):
        training.run(**settings)
    before = list(training.told)
    again = replace(
        training,
        training=rows(200, noise=4.0),
        stop=type(training.stop)(),
        told=[],
        model=HeadOnly(new_head(WIDTH, CLASSES)),
    )
    again.run(**settings)

    assert again.rules == ["Overfit"]
    assert before in ([], again.told)


@pytest.mark.parametrize("left", ["checkpoints", "."], ids=["only the checkpoints", "the trial as well"])
def test_what_was_found_before_is_told_again_and_once(tmp_path: Path, left: str) -> None:
    stopped = Training(tmp_path / "stopped", stopping=True, debug=DebugSettings(interval=1))
    with pytest.raises(Terminated):
        stopped.run(learning_rate=100.0)
    shutil.copytree(stopped.folder / left, tmp_path / "again" / left)
    again = Training(tmp_path / "again")

    again.run(learning_rate=100.0)

    assert again.told == stopped.told != []


def test_what_was_found_is_forgotten_where_training_begins_anew(tmp_path: Path) -> None:
    stopped = Training(tmp_path, stopping=True, debug=DebugSettings(interval=1))
    with pytest.raises(Terminated):
        stopped.run(learning_rate=100.0)
    for checkpoint in (tmp_path / "checkpoints").glob("step-*"):
        checkpoint.unlink()
    again = Training(tmp_path)

    again.run()

    assert again.told == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_damaged_step_is_left_out_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    training = Training(tmp_path, debug=DebugSettings(interval=8))
    training.run(epochs=1)
    file = sorted(training.tensors.glob("events/*/*"))[1]
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])

    again = Training(tmp_path, debug=DebugSettings(interval=8))
    again.run(epochs=1)

    assert again.told == []
    assert train_steps(training.tensors) == [0, 16, 24]
    assert file.name in capsys.readouterr().err or share == 0.0


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────


def test_a_full_disk_ends_the_saving_and_not_the_training(
    tmp_path: Path, mount_disk: Callable[[Path, str], Path], fill: Callable[[Path], Path]
) -> None:
    undisturbed = Training(tmp_path / "undisturbed")
    undisturbed.run()
    training = Training(tmp_path / "full", debug=DebugSettings(interval=1))
    training.folder.mkdir()
    disk = mount_disk(training.tensors, "2m")

    def fill_in_batch_20(number: int, inputs: Tensor) -> Tensor:
        if number == 20:
            fill(disk)
        return inputs

    training.training.on_batch = fill_in_batch_20
    training.run()

    (finding,) = training.told
    assert (finding.rule, finding.step) == ("TensorsMissing", 19)
    assert "tensors are missing from step 19 on" in finding.says
    assert "No space left" in finding.says
    assert torch.equal(training.model.head.weight, undisturbed.model.head.weight)
    assert train_steps(training.tensors) == list(range(19))
    assert not list(training.tensors.rglob("*.tmp"))


def test_a_folder_that_cannot_be_written_ends_the_saving_and_not_the_training(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.tensors.write_text("a file where the folder should be")

    training.run()

    assert training.rules == ["TensorsMissing"]
    assert "from step 0 on" in training.told[0].says


def test_rules_still_look_on_when_the_disk_is_full(
    tmp_path: Path, mount_disk: Callable[[Path, str], Path], fill: Callable[[Path], Path]
) -> None:
    training = Training(tmp_path)
    training.tensors.mkdir()
    fill(mount_disk(training.tensors, "64k"))

    training.run(learning_rate=100.0)

    assert training.rules == ["TensorsMissing", "LearningRateTooHigh"]


def test_a_finding_stops_the_training_after_a_checkpoint(tmp_path: Path) -> None:
    training = Training(tmp_path, stopping=True, debug=DebugSettings(interval=1))

    with pytest.raises(Terminated):
        training.run(learning_rate=100.0)

    (checkpoint,) = (tmp_path / "checkpoints").glob("step-*")
    assert f"{training.told[0].step + 1}" in checkpoint.name
