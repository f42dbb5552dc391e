"""Seeded faults: each raises the rule that names it, and no other; a sound training raises none."""

import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from observed_training import CLASSES, Rows, Training, rows
from torch import Tensor, nn

from trainer import bottlenecks, loading
from trainer.analysis import analyse, findings_of
from trainer.backbones import Classifier, new_head
from trainer.data import RobustImageFolder
from trainer.failures import TrainingError
from trainer.findings import Finding, write_findings
from trainer.hook import DebugSettings
from trainer.loading import ImageBatches
from trainer.loss_rules import LearningRateTooHigh, LossNotDecreasing, Underfit
from trainer.rules import RULES
from trainer.smdebug_support import (
    Hook,
    ModeKeys,
    RuleEvaluationConditionMet,
    SaveConfig,
    create_trial,
    invoke_rule,
)
from trainer.tensor_rules import (
    ExplodingTensor,
    InputsNotNormalised,
    SaturatedOrDeadActivation,
    UpdateRatio,
    VanishingGradient,
    health,
)
from trainer.training_rule import TrainingRule
from trainer.trial_steps import SavedStep, StepTrial, write_step
from trainer.views import Preprocessing, Views


def finding(training: Training) -> Finding:
    (only,) = training.told
    return only


@pytest.mark.parametrize("whole", [False, True])
def test_a_sound_training_raises_none(tmp_path: Path, whole: bool) -> None:
    training = Training(tmp_path, debug=DebugSettings(whole=whole))

    training.run()

    assert training.told == findings_of(training.tensors) == []


@pytest.mark.parametrize("interval", [0, 1, 1000])
def test_a_learning_rate_of_100_is_found_whatever_is_saved(tmp_path: Path, interval: int) -> None:
    training = Training(tmp_path, debug=DebugSettings(interval=interval))

    training.run(learning_rate=100.0)

    assert finding(training).rule == "LearningRateTooHigh"
    assert finding(training).value > finding(training).threshold
    assert "Lower learning-rate" in finding(training).advice


def test_a_head_initialised_to_1e_9(tmp_path: Path) -> None:
    training = Training(tmp_path)
    nn.init.normal_(training.model.head.weight, std=1e-9)

    training.run()

    assert (finding(training).rule, finding(training).step) == ("PoorInitialisation", 0)
    assert finding(training).tensor == "Classifier_head.weight"


@pytest.mark.parametrize("interval", [0, 1, 1000])
def test_shuffled_labels_are_found_whatever_is_saved(tmp_path: Path, interval: int) -> None:
    sound = rows(2000)
    order = torch.randperm(len(sound), generator=torch.Generator().manual_seed(0))
    shuffled = Rows(sound.inputs, sound.targets[order])
    training = Training(tmp_path, shuffled, debug=DebugSettings(interval=interval))

    training.run()

    assert (finding(training).rule, finding(training).step) == ("LossNotDecreasing", 31)  # the epoch's last
    assert "labels" in finding(training).advice


def test_a_loader_that_sleeps_200_ms(tmp_path: Path) -> None:
    def slow(number: int, inputs: Tensor) -> Tensor:
        time.sleep(0.2)
        return inputs

    training = Training(tmp_path, replace(rows(512), on_batch=slow), profiled=True)

    training.run(epochs=2)

    assert training.told == []
    assert training.profiler is not None
    found = bottlenecks.find(
        training.profiler.as_dict(),
        workers=1,
        cpus=4,
        batch_size=64,
        checkpoint_steps=200,
        frozen_cached=False,
        device_memory_gb=None,
    )
    assert [each.rule for each in found] == ["LoaderBottleneck"]
    assert "workers from 1 to 4" in found[0].advice


def test_one_class_with_90_percent_of_the_pictures(tmp_path: Path) -> None:
    shares = np.full(CLASSES, 0.1 / (CLASSES - 1))
    shares[3] = 0.9
    training = Training(tmp_path, rows(2000, shares=shares), rows(500, seed=1, shares=shares))

    training.run()

    assert finding(training).rule == "ClassImbalance"
    assert "(90%)" in finding(training).says


def test_a_head_trained_far_past_the_best_epoch_on_200_pictures(tmp_path: Path) -> None:
    training = Training(tmp_path, rows(200, noise=4.0), rows(500, seed=1, noise=4.0))

    training.run(epochs=80, learning_rate=0.03, batch_size=32)

    assert finding(training).rule == "Overfit"
    assert ((finding(training).step or 0) + 1) % 7 == 0  # the last step of an epoch
    assert "patience" in finding(training).advice


def test_nan_in_one_picture(tmp_path: Path) -> None:
    sound = rows(2000)
    sound.inputs[77, 5] = math.nan
    training = Training(tmp_path, sound)

    with pytest.raises(TrainingError, match="nan"):
        training.run()

    assert finding(training).rule == "ExplodingTensor"
    assert "NaN" in finding(training).says


def test_nan_between_two_saves_is_named_before_training_fails(tmp_path: Path) -> None:
    sound = rows(2000)
    sound.inputs[77, 5] = math.nan
    training = Training(tmp_path, sound, debug=DebugSettings(interval=1000))

    with pytest.raises(TrainingError, match="nan"):
        training.run()

    assert training.rules == ["ExplodingTensor"]
    assert [each.tensor for each in findings_of(training.tensors)] == [training.told[0].tensor]


@pytest.mark.parametrize(
    ("normalise", "found"),
    [
        (lambda pixels: pixels.permute(0, 3, 1, 2).float(), ["InputsNotNormalised"]),
        (lambda pixels: pixels.permute(0, 3, 1, 2).float() / 255, ["InputsNotNormalised"]),
        (loading.normalise, []),
    ],
    ids=["neither divided nor normalised", "divided only", "sound"],
)
def test_normalisation_left_out(
    tmp_path: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    normalise: Callable[[Tensor], Tensor],
    found: list[str],
) -> None:
    monkeypatch.setattr(loading, "normalise", normalise)
    views = Views(Preprocessing(32, 32), 0.6)
    train, valid = (
        ImageBatches(RobustImageFolder(pictures / name), views, workers=0, batch_size=8)
        for name in ("train", "valid")
    )
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU())
    training = Training(tmp_path, train, valid, Classifier(trunk, new_head(16, 3)))

    training.run(feature_cache=False, batch_size=8, epochs=2, learning_rate=0.001)

    assert training.rules == found


# ── rules that need more than a head, or a fault that is hard to seed ─────────────────────────────────────


def show(rule: type[TrainingRule], steps: Iterable[Mapping[str, Any]], mode: ModeKeys) -> list[Finding]:
    """What a rule finds in steps of one mode, given by the names of their tensors and reductions."""
    trial = StepTrial("shown")
    looked = rule(trial)
    for number, values in enumerate(steps):
        arrays = {name: np.array(value, np.float32) for name, value in values.items()}
        trial.show(SavedStep(number, mode, number, arrays))
        with suppress(RuleEvaluationConditionMet):
            looked.invoke(number)
    return looked.findings


@pytest.mark.parametrize(
    ("mean", "deviation", "threshold"),
    [
        (2.1, 1.0, 2.0),
        (-2.1, 1.0, 2.0),
        (1.9, 1.0, None),
        (0.0, 0.39, 0.4),
        (0.0, 2.6, 2.5),
        (0.0, 2.4, None),
    ],
)
def test_pictures_far_from_mean_0_and_deviation_1_are_found_as_inputs_and_behind_features(
    mean: float, deviation: float, threshold: float | None
) -> None:
    numbers = {"mean": mean, "std": deviation}
    inputs = {f"smdebug/reductions/{kind}/Classifier_input_0": value for kind, value in numbers.items()}
    behind = {"extracted_inputs": [[0.0, 1.0], [mean, deviation]]}

    for step in (inputs, behind):
        found = show(InputsNotNormalised, [step, step], ModeKeys.TRAIN)
        assert [each.threshold for each in found] == ([] if threshold is None else [threshold])


def norm(tensor: str) -> str:
    return f"smdebug/reductions/l2/{tensor}"


LOSS = "CrossEntropyLoss_output_0"


@pytest.mark.parametrize(
    ("norms", "found_at"),
    [
        ([1e-3, 1e-7, 1e-3, 1e-7, 1e-7], 4),
        ([1e-7, 1e-3, 1e-7], None),  # a single one is how layers below a head of zeros begin
        ([2e-6] * 5, None),
    ],
)
def test_a_vanishing_gradient_lasts(norms: list[float], found_at: int | None) -> None:
    found = show(
        VanishingGradient, [{LOSS: 2.0, norm("gradient/a.weight"): each} for each in norms], ModeKeys.TRAIN
    )

    assert [each.step for each in found] == ([] if found_at is None else [found_at])


def test_a_gradient_vanishes_where_nothing_is_left_to_learn() -> None:
    assert not show(VanishingGradient, [{LOSS: 1e-5, norm("gradient/a.weight"): 1e-9}] * 4, ModeKeys.TRAIN)


@pytest.mark.parametrize(
    ("values", "tensor"),
    [
        ({norm("gradient/a.weight"): 101.0, norm("a.weight"): 5.0}, "gradient/a.weight"),
        ({norm("gradient/a.weight"): 1.0, norm("a.weight"): math.inf}, "a.weight"),
        ({norm("gradient/a.weight"): math.nan, norm("Classifier_input_0"): math.nan}, "Classifier_input_0"),
        ({LOSS: math.nan}, LOSS),
    ],
)
def test_an_exploding_tensor_is_named_where_it_begins(values: dict[str, float], tensor: str) -> None:
    (found,) = show(ExplodingTensor, [{LOSS: 1.0}, values], ModeKeys.TRAIN)

    assert (found.tensor, found.step) == (tensor, 1)


def test_nan_is_told_after_a_gradient_that_led_to_it() -> None:
    steps = [{norm("gradient/a.weight"): 101.0}, {norm("gradient/a.weight"): 500.0}, {LOSS: math.nan}]

    found = show(ExplodingTensor, [*steps, {LOSS: math.nan}], ModeKeys.TRAIN)

    assert [(each.tensor, each.step) for each in found] == [("gradient/a.weight", 0), (LOSS, 2)]


def losses(values: Iterable[float], *, ratio: float) -> list[dict[str, Any]]:
    """Saved steps of a network for 120 classes, each of which changes its weights by this share."""
    sizes = {norm("update/a.weight"): ratio, norm("a.weight"): 1.0}
    steps: list[dict[str, Any]] = [{LOSS: value, **sizes} for value in values]
    steps[0]["class_counts"] = np.full(120, 50)
    return steps


@pytest.mark.parametrize(
    ("values", "ratio", "found"),
    [
        ([0.6, *[2.1] * 12], 0.1, ["the loss has risen from 0.6"]),  # the pretrained start is lost at once
        ([3.0, *[9.0, 3.1] * 6], 0.1, ["the loss oscillates"]),
        ([0.0, 300.0, 800.0, 1400.0], 0.1, ["the loss has risen from 0 at the first step to 1.4e+03"]),
        ([3.0, *[9.0, 3.1] * 6], 1e-4, []),  # small batches: such steps change nothing
        ([4.8, *[5.3, 4.7] * 6], 0.1, []),
        ([9.0, *[8.0, 3.0] * 6], 0.1, []),  # it falls
    ],
)
def test_steps_that_are_too_large_are_told_from_noise(
    values: list[float], ratio: float, found: list[str]
) -> None:
    findings = show(LearningRateTooHigh, losses(values, ratio=ratio), ModeKeys.TRAIN)

    assert [any(each.says.startswith(text) for text in found) for each in findings] == [True] * len(found)


@pytest.mark.parametrize(
    ("first", "training", "validation", "found"),
    [
        (2.2, 2.2, 4.7, 1),
        (2.2, 2.2, 0.6, 0),  # mixup keeps the training loss up
        (4.8, 4.7, 4.0, 0),  # the epoch's mean lags behind
        (5.2, 4.7, 4.7, 1),  # fallen to what a network has that knows nothing
        (9.0, 6.0, 6.0, 0),  # still falling
        (4.8, 5.9, 6.0, 0),  # risen: another rule's
        (0.9, 0.9, 0.9, 0),  # there is little room below
    ],
)
def test_a_loss_is_compared_with_the_first_step_and_with_ignorance(
    first: float, training: float, validation: float, found: int
) -> None:
    trial = StepTrial("shown")
    rule = LossNotDecreasing(trial)
    at_first = {LOSS: np.array(first, np.float32), "class_counts": np.full(120, 50, np.float32)}
    of_epoch = {
        LOSS: np.array(validation, np.float32),
        "scalar/train:loss": np.array(training, np.float32),
    }

    for number, mode, values in ((0, ModeKeys.TRAIN, at_first), (30, ModeKeys.EVAL, of_epoch)):
        trial.show(SavedStep(number, mode, 0, values))
        with suppress(RuleEvaluationConditionMet):
            rule.invoke(number)

    assert len(rule.findings) == found


@pytest.mark.parametrize(("last", "found"), [(2.15, 1), (1.5, 0)])
def test_a_foreign_trial_without_epochs_is_judged_by_its_saves(last: float, found: int) -> None:
    steps = [{LOSS: 2.2}] * 30 + [{LOSS: last}] * 10

    assert len(show(LossNotDecreasing, steps, ModeKeys.TRAIN)) == found


def test_weights_of_any_size_and_gradients_up_to_100_are_sound() -> None:
    assert not show(
        ExplodingTensor, [{norm("gradient/a.weight"): 99.0, norm("a.weight"): 500.0}], ModeKeys.TRAIN
    )


@pytest.mark.parametrize(("change", "threshold"), [(1e-9, 1e-8), (0.8, 0.5), (1e-3, None)])
def test_a_step_that_changes_too_little_or_too_much(change: float, threshold: float | None) -> None:
    steps = [{norm("update/a.weight"): change, norm("a.weight"): 1.0}] * 30

    found = show(UpdateRatio, steps, ModeKeys.TRAIN)

    assert [each.threshold for each in found] == ([] if threshold is None else [threshold])


@pytest.mark.parametrize(
    ("accuracies", "found"),
    [([0.30, 0.302, 0.304], True), ([0.30, 0.32, 0.34], False), ([0.80, 0.80, 0.80], False)],
)
def test_both_accuracies_low_and_flat_is_underfitting(accuracies: list[float], found: bool) -> None:
    epochs = [{"scalar/train:accuracy": each, "scalar/validation:accuracy": each} for each in accuracies]

    assert bool(show(Underfit, epochs, ModeKeys.EVAL)) == found


def test_dead_and_saturated_activations() -> None:
    random = torch.Generator().manual_seed(0)
    sound = torch.relu(torch.randn(64, 100, generator=random))
    dead, saturated = sound.clone(), sound.clone()
    dead[:, :60] = 0
    saturated[:, 30:] = 6.0

    assert health(sound).dead == 0.0
    assert health(sound).saturated < 0.01
    assert health(dead).dead == pytest.approx(0.6)
    assert health(saturated).saturated == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(("dead", "saturated", "found"), [(0.6, 0.0, 1), (0.0, 0.6, 1), (0.4, 0.4, 0)])
def test_half_a_layer_dead_or_saturated(dead: float, saturated: float, found: int) -> None:
    step = {norm("head_input_0"): 1.0, "dead/head_input_0": dead, "saturated/head_input_0": saturated}

    assert len(show(SaturatedOrDeadActivation, [step, step], ModeKeys.TRAIN)) == found
    assert not show(SaturatedOrDeadActivation, [step, {LOSS: 1.0}, step], ModeKeys.TRAIN)  # by chance


# ── afterwards ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [np.float16, np.bool_, np.int64])
def test_activations_of_any_kind_are_judged(
    tmp_path: Path, kind: type, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        values = {"relu_output_0": np.zeros((8, 4), kind), LOSS: np.array(1.0, np.float32)}
        write_step(tmp_path, SavedStep(number, ModeKeys.GLOBAL, number, values))

    assert [each.rule for each in findings_of(tmp_path)] == ["SaturatedOrDeadActivation"]
    assert "left out" not in capsys.readouterr().err


def test_the_same_is_found_afterwards(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.run(learning_rate=100.0)

    assert findings_of(training.tensors) == training.told != []


def test_an_analysis_keeps_what_was_found_in_a_part_of_the_training_that_its_trial_lacks(
    tmp_path: Path,
) -> None:
    training = Training(tmp_path / "job", debug=DebugSettings(interval=1))
    training.run(epochs=1)
    before = Finding("LearningRateTooHigh", 3, LOSS, 9.0, 3.0, "the loss has risen", "Lower learning-rate")
    write_findings(training.folder, [before])

    whole = analyse(training.folder, training.tensors, tmp_path / "whole")
    for events in sorted((training.tensors / "events").iterdir())[:10]:
        shutil.rmtree(events)  # another container has done these steps
    part = analyse(training.folder, training.tensors, tmp_path / "part")

    assert (whole, part) == ([], [before])


def test_smdebugs_own_invoker_runs_the_rules(tmp_path: Path) -> None:
    training = Training(tmp_path, debug=DebugSettings(interval=1))
    nn.init.normal_(training.model.head.weight, std=1e-9)
    training.run(epochs=1)
    trial = create_trial(str(training.tensors))

    found = []
    for kind in RULES:
        rule = kind(trial)
        invoke_rule(rule, end_step=max(trial.steps()) + 1)
        found += rule.findings

    assert found == training.told != []


def test_rules_run_on_a_trial_of_a_plain_smdebug_hook_with_whole_tensors(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    loss = nn.CrossEntropyLoss()
    hook = Hook(out_dir=str(tmp_path / "trial"), save_config=SaveConfig(save_interval=1),
                include_collections=["losses", "gradients", "weights"])  # fmt: skip
    hook.register_module(network)
    hook.register_loss(loss)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for step in range(6):
        inputs = torch.randn(16, 8) * (math.nan if step == 4 else 1)
        optimizer.zero_grad()
        loss(network(inputs), torch.randint(0, 3, (16,))).backward()
        optimizer.step()
    hook.close()

    (found,) = findings_of(tmp_path / "trial")

    assert (found.rule, found.step) == ("ExplodingTensor", 4)
