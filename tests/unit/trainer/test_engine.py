"""The training loop: exact averages, the best epoch kept, and one result however a run is done.

Whole or in pieces, at once or after a restart, on pictures or on cached features.
"""

import copy
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.backbones import Classifier
from trainer.config import Hyperparameters
from trainer.distributed import ALONE
from trainer.engine import Best, fit
from trainer.evaluation import Evaluation, evaluate
from trainer.failures import TrainingError
from trainer.loading import Batch, Request
from trainer.machine import Machine
from trainer.network import HeadOnly
from trainer.termination import Stop, Terminated

CLASSES, PICTURES = 3, 46
SETTINGS = Hyperparameters(epochs=3, batch_size=8, learning_rate=0.02, checkpoint_steps=2)
EVERYTHING = replace(
    SETTINGS,
    dropout=0.3,
    mixup=0.4,
    ema=0.9,
    clip_gradients=0.5,
    warmup=0.2,
    label_smoothing=0.1,
    weight_decay=0.1,
)


@dataclass
class Pictures:
    """A split in memory; `on_batch` is told the number of each batch that is loaded."""

    inputs: Tensor
    targets: Tensor
    on_batch: Callable[[int], None] = lambda number: None
    loaded: list[Request] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, requests: Iterable[Request]) -> Iterator[Batch]:
        for request in requests:
            self.loaded.append(request)
            self.on_batch(len(self.loaded))
            samples = [sample for sample, _ in request]
            yield self.inputs[samples], self.targets[samples]

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        return inputs.to(device)


def pictures(seed: int) -> Pictures:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, CLASSES, (PICTURES,), generator=generator)
    inputs = torch.randn(PICTURES, 3, 16, 16, generator=generator)
    inputs[torch.arange(PICTURES), targets] += 2  # the channel of its class is brighter
    return Pictures(inputs, targets)


def small_classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(nn.Sequential(block(3, 6), block(6, 8)), nn.Linear(8, CLASSES))


def block(inputs: int, outputs: int) -> nn.Module:
    """A stage of two layers."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 1),
    )


def machine(stop: Stop | None = None) -> Machine:
    return Machine(torch.device("cpu"), torch.float32, ALONE, stop or Stop())


@dataclass
class Run:
    """One call of `fit` and what came of it."""

    model: Classifier | HeadOnly
    best: Best
    reports: list[dict[str, float]]

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


def train(
    folder: Path,
    settings: Hyperparameters = SETTINGS,
    *,
    model: Classifier | HeadOnly | None = None,
    training: Pictures | None = None,
    validation: Pictures | None = None,
    stop: Stop | None = None,
    reports: list[dict[str, float]] | None = None,
) -> Run:
    if model is None:
        model = small_classifier()
        model.unfreeze(settings.unfreeze)
    kept: list[dict[str, float]] = [] if reports is None else reports
    best = fit(
        model,
        training or pictures(1),
        validation or pictures(2),
        settings,
        machine(stop),
        checkpoints=folder,
        report=lambda values, epoch: kept.append({"epoch": epoch, **values}),
    )
    return Run(model, best, kept)


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def answers(model: Classifier, batch_size: int) -> Evaluation:
    return evaluate(model, pictures(2), machine(), batch_size=batch_size, label="test")


# ── what is reported, and which epoch is kept ───────────────────────────────────────────────────────


def test_averages_do_not_depend_on_the_batch_size() -> None:
    model = small_classifier()

    whole, pieces = answers(model, PICTURES), answers(model, 7)

    assert torch.equal(whole.targets, pictures(2).targets)
    assert pieces.loss == pytest.approx(whole.loss, abs=1e-6)
    assert pieces.accuracy == whole.accuracy
    assert whole.loss == pytest.approx(functional.cross_entropy(whole.logits, whole.targets).item())


def test_training_reports_every_epoch_and_learns(tmp_path: Path) -> None:
    run = train(tmp_path, replace(SETTINGS, epochs=6, learning_rate=0.05, unfreeze="all"))

    assert [report["epoch"] for report in run.reports] == [1, 2, 3, 4, 5, 6]
    assert run.reports[-1]["train:loss"] < run.reports[0]["train:loss"]
    assert run.best.metrics and run.best.metrics["validation:accuracy"] > 0.7
    assert all(report["train:images_per_second"] > 0 for report in run.reports)
    assert all(0 <= report["train:data_wait"] <= 1 for report in run.reports)


def test_the_training_figures_are_those_of_the_pictures(tmp_path: Path) -> None:
    """With a step size of next to nothing the epoch's loss is the start's, over all pictures alike."""
    run = train(tmp_path, replace(SETTINGS, epochs=1, learning_rate=1e-9))

    start = evaluate(small_classifier(), pictures(1), machine(), batch_size=8, label="start")
    assert run.reports[0]["train:loss"] == pytest.approx(start.loss, abs=1e-5)
    assert run.reports[0]["train:accuracy"] == pytest.approx(start.accuracy)


def test_the_model_is_left_at_its_best_epoch(tmp_path: Path) -> None:
    run = train(tmp_path, replace(SETTINGS, epochs=6, learning_rate=0.5))

    first = max(run.reports, key=lambda report: (report["validation:accuracy"], -report["validation:loss"]))
    assert run.best.epoch == first["epoch"]
    assert isinstance(run.model, Classifier)
    assert answers(run.model, 8).accuracy == first["validation:accuracy"]
    assert answers(run.model, 8).loss == pytest.approx(first["validation:loss"], abs=1e-6)


def test_training_ends_when_patience_does(tmp_path: Path) -> None:
    run = train(tmp_path, replace(SETTINGS, epochs=50, learning_rate=0.5, patience=2))

    accuracies = [report["validation:accuracy"] for report in run.reports]
    assert len(run.reports) < 50
    assert len(run.reports) == accuracies.index(max(accuracies)) + 1 + 2


def test_a_falling_loss_at_the_same_accuracy_is_kept_but_does_not_restart_patience(tmp_path: Path) -> None:
    run = train(tmp_path, replace(SETTINGS, epochs=9, learning_rate=1e-6, patience=2))

    assert [report["epoch"] for report in run.reports] == [1, 2, 3]
    assert len({report["validation:accuracy"] for report in run.reports}) == 1
    assert run.best.epoch == 3


def test_the_same_seed_gives_the_same_losses(tmp_path: Path) -> None:
    def losses(name: str, seed: int) -> list[float]:
        return [
            report["train:loss"] for report in train(tmp_path / name, replace(SETTINGS, seed=seed)).reports
        ]

    assert losses("first", 1) == losses("again", 1)
    assert losses("other", 2) != losses("first", 1)


def test_a_loss_that_is_no_number_stops_training(tmp_path: Path) -> None:
    model = small_classifier()
    next(model.backbone.parameters()).data.fill_(math.nan)

    with pytest.raises(TrainingError, match="the loss became nan in epoch 1/3: lower learning-rate"):
        train(tmp_path, model=model)


def test_the_moving_average_is_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    plain, averaged = (train(tmp_path / str(ema), replace(SETTINGS, ema=ema)) for ema in (0.0, 0.99))

    assert not torch.equal(plain.model.head.weight, averaged.model.head.weight)
    assert averaged.model.head.weight.norm() < plain.model.head.weight.norm()
    assert averaged.best.metrics
    assert isinstance(averaged.model, Classifier)
    assert answers(averaged.model, 8).loss == pytest.approx(
        averaged.best.metrics["validation:loss"], abs=1e-6
    )


# ── which layers are trained ────────────────────────────────────────────────────────────────────────


def test_a_frozen_backbone_is_left_as_it_was(tmp_path: Path) -> None:
    before, run = small_classifier().state_dict(), train(tmp_path)

    assert all(torch.equal(before[name], run.weights[name]) for name in before if name.startswith("backbone"))
    assert not torch.equal(before["head.weight"], run.weights["head.weight"])


@pytest.mark.parametrize(("unfreeze", "trained"), [("layer4", {"1"}), ("all", {"0", "1"})])
def test_unfrozen_stages_learn_and_batch_norm_keeps_its_statistics(
    tmp_path: Path, unfreeze: str, trained: set[str]
) -> None:
    before = small_classifier().state_dict()
    after = train(tmp_path, replace(SETTINGS, unfreeze=unfreeze)).weights

    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[1] for name in changed if name.startswith("backbone")} == trained
    assert not any("running" in name for name in changed)
    assert not any("num_batches" in name for name in changed)


def test_pictures_through_a_frozen_backbone_and_their_features_train_the_same_head(tmp_path: Path) -> None:
    settings = replace(EVERYTHING, seed=3)
    model = small_classifier()

    def features(of: Pictures) -> Pictures:
        with torch.no_grad():
            return Pictures(model.extract(of.inputs), of.targets)

    whole = train(tmp_path / "pictures", settings)
    head = train(
        tmp_path / "features",
        settings,
        model=HeadOnly(copy.deepcopy(model.head)),
        training=features(pictures(1)),
        validation=features(pictures(2)),
    )

    torch.testing.assert_close(head.model.head.weight, whole.model.head.weight, rtol=1e-4, atol=1e-6)
    for one, other in zip(whole.reports, head.reports, strict=True):
        assert one["validation:accuracy"] == other["validation:accuracy"]
        assert one["train:loss"] == pytest.approx(other["train:loss"], rel=1e-5)


# ── out of memory ───────────────────────────────────────────────────────────────────────────────────


class SmallMemory(nn.Sequential):
    """A backbone that holds no more than `most` pictures at once."""

    most = 0

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        answer: Tensor = super().forward(images)
        return answer


def in_small_memory(settings: Hyperparameters, most: int) -> Classifier:
    model = small_classifier()
    model.backbone.__class__, model.backbone.most = SmallMemory, most
    model.unfreeze(settings.unfreeze)
    return model


@pytest.mark.parametrize("unfreeze", ["none", "all"])
@pytest.mark.parametrize("most", [1, 3, 5])
def test_a_batch_that_does_not_fit_is_done_in_pieces_with_the_same_result(
    tmp_path: Path, unfreeze: str, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(EVERYTHING, unfreeze=unfreeze, batch_size=16)

    whole = train(tmp_path / "whole", settings).weights
    pieces = train(tmp_path / "pieces", settings, model=in_small_memory(settings, most)).weights

    for name, tensor in whole.items():
        torch.testing.assert_close(pieces[name], tensor, rtol=1e-4, atol=1e-5)
    errors = capsys.readouterr().err
    assert "a step of 16 pictures now goes through in pieces of 8, whose gradients are added up" in errors
    assert f"in pieces of {max(size for size in (1, 2, 4) if size <= most)}," in errors


def test_a_single_picture_that_does_not_fit_ends_training_with_advice(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a single picture exhausts the GPU's memory: freeze more layers"):
        train(tmp_path, model=in_small_memory(SETTINGS, 0))


# ── checkpoints ─────────────────────────────────────────────────────────────────────────────────────


def stopped_at(batch: int, stop: Stop) -> Pictures:
    """Training pictures whose given batch is loaded just when SIGTERM arrives."""

    def arrive(number: int) -> None:
        if number == batch:
            stop.requested = True

    source = pictures(1)
    source.on_batch = arrive
    return source


@pytest.mark.parametrize("settings", [SETTINGS, replace(EVERYTHING, unfreeze="all", views=3)])
def test_a_stopped_run_goes_on_to_the_very_same_weights(tmp_path: Path, settings: Hyperparameters) -> None:
    expected = train(tmp_path / "whole", settings)
    steps = 3 * 6
    for batch in (1, 5, 6, 7, 12, steps):
        folder, reports = tmp_path / f"stopped{batch}", []
        stop = Stop()
        with pytest.raises(Terminated):
            train(folder, settings, training=stopped_at(batch, stop), stop=stop, reports=reports)
        second = pictures(1)
        resumed = train(folder, settings, training=second, reports=reports)

        assert_same(resumed.weights, expected.weights)
        assert len(second.loaded) == steps - batch + 1  # the step that was given up is done again
        assert resumed.best == expected.best or strip(resumed.best) == strip(expected.best)
        assert [each["train:loss"] for each in reports] == [each["train:loss"] for each in expected.reports]


class Large(nn.Sequential):
    """A backbone for large pictures, which counts its training passes and tells `on_pass` of each."""

    passes = 0
    on_pass: Callable[[int], None]

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        self.on_pass(self.passes)
        assert len(images) <= 4  # at 224 pixels, what a processor does in about a second
        answer: Tensor = super().forward(images)
        return answer


def large(seed: int) -> Pictures:
    source = pictures(seed)
    return Pictures(source.inputs[:, :, :8, :8].repeat(1, 1, 28, 28), source.targets)


def train_large(folder: Path, *, stop: Stop | None = None, at_pass: int = 0) -> tuple[Run | None, Large]:
    """A run that is asked to stop during a training or validation pass; None when it was stopped."""
    settings = replace(EVERYTHING, unfreeze="all", batch_size=40, epochs=2)
    model = small_classifier()
    backbone = model.backbone
    backbone.__class__ = Large
    assert isinstance(backbone, Large)
    backbone.on_pass = lambda number: setattr(stop, "requested", number == at_pass) if stop else None
    model.unfreeze("all")
    try:
        run = train(folder, settings, model=model, training=large(1), validation=large(2), stop=stop)
    except Terminated:
        return None, backbone
    return run, backbone


# A step of 40 pictures in 10 pieces, one of 6 in 2, then 12 pieces of validation.
@pytest.mark.parametrize(("at_pass", "step"), [(3, 0), (11, 1), (15, 2)])
def test_a_stop_is_heard_within_a_batch_and_loses_no_whole_step(
    tmp_path: Path, at_pass: int, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = train_large(tmp_path / "whole")
    stopped, backbone = train_large(tmp_path / "stopped", stop=Stop(), at_pass=at_pass)
    resumed, _ = train_large(tmp_path / "stopped")

    assert stopped is None
    assert backbone.passes == at_pass
    assert f"going on from the checkpoint of step {step} of 4" in capsys.readouterr().err
    assert whole
    assert resumed
    assert_same(resumed.weights, whole.weights)


def strip(best: Best) -> tuple[int, dict[str, float]]:
    """Without the figures that depend on the clock."""
    clock = {"train:images_per_second", "train:data_wait"}
    return best.epoch, {name: value for name, value in (best.metrics or {}).items() if name not in clock}


def test_a_stop_while_evaluating_loses_no_step(tmp_path: Path) -> None:
    stop, expected = Stop(), train(tmp_path / "whole").weights

    with pytest.raises(Terminated):
        train(tmp_path / "stopped", validation=replace_on_batch(stop), stop=stop)
    second = pictures(1)
    resumed = train(tmp_path / "stopped", training=second).weights

    assert_same(resumed, expected)
    assert len(second.loaded) == 2 * 6


def replace_on_batch(stop: Stop) -> Pictures:
    source = pictures(2)
    source.on_batch = lambda number: setattr(stop, "requested", True)
    return source


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, stop = train(tmp_path / "whole").weights, Stop()
    with pytest.raises(Terminated):
        train(tmp_path / "run", training=stopped_at(9, stop), stop=stop)
    newest = max((tmp_path / "run").glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:-10])
    second = pictures(1)

    resumed = train(tmp_path / "run", training=second).weights

    assert_same(resumed, expected)
    assert len(second.loaded) == 18 - 8
    errors = capsys.readouterr().err
    assert f"{newest} is not used" in errors
    assert "going on from the checkpoint of step 8 of 18" in errors


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first, again = train(tmp_path), pictures(1)

    second = train(tmp_path, training=again)

    assert again.loaded == []
    assert_same(first.weights, second.weights)
    assert second.best == first.best


def test_a_disk_that_takes_no_checkpoint_does_not_end_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")

    run = train(tmp_path / "file" / "checkpoints")

    assert len(run.reports) == 3
    assert "could not be written" in capsys.readouterr().err


# ── machines ────────────────────────────────────────────────────────────────────────────────────────


def test_bfloat16_features_train_the_head_in_float32(tmp_path: Path) -> None:
    model, cpu = small_classifier(), machine()
    in_bfloat16 = replace(cpu, precision=torch.bfloat16)

    best = fit(
        model, pictures(1), pictures(2), SETTINGS, in_bfloat16, checkpoints=tmp_path, report=lambda *_: None
    )

    assert model.head.weight.dtype == torch.float32
    assert best.metrics and best.metrics["train:loss"] > 0


def test_a_compiled_network_trains_the_same_weights(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs g++")
    settings = replace(SETTINGS, unfreeze="all", epochs=1)
    plain = train(tmp_path / "plain", settings).weights
    compiled = train(tmp_path / "compiled", replace(settings, compile=True)).weights

    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, rtol=1e-3, atol=1e-4)


COMPILED = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_engine import SETTINGS, train
from trainer.failures import TrainingError

try:
    train(Path(sys.argv[2]), replace(SETTINGS, unfreeze="all", epochs=1, compile=True))
except TrainingError as error:
    print(error)
"""


def test_a_damaged_compilation_is_said_to_be_one(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs g++")
    compiled = tmp_path / "compiled"

    def said(name: str) -> str:
        command = [sys.executable, "-c", COMPILED, str(Path(__file__).parent), str(tmp_path / name)]
        variables = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(compiled)}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout

    assert said("whole") == ""
    for library in compiled.rglob("*.so"):
        library.write_bytes(library.read_bytes()[:100])

    assert "the network cannot be compiled: " in (damaged := said("damaged"))
    assert f"remove {compiled}, or leave compile false" in damaged


def test_cached_features_leave_nothing_to_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.delenv("CXX", raising=False)
    plain, asked = (
        train(tmp_path / str(asked), replace(SETTINGS, feature_cache=True, compile=asked)).weights
        for asked in (False, True)
    )

    assert all(torch.equal(asked[name], tensor) for name, tensor in plain.items())


def test_compiling_without_a_compiler_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.delenv("CXX", raising=False)

    with pytest.raises(TrainingError, match="compile needs a C\\+\\+ compiler"):
        train(tmp_path, replace(SETTINGS, unfreeze="all", compile=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_answers_of_the_processor() -> None:
    model = small_classifier()
    expected = answers(model, 8).logits
    gpu: Any = replace(machine(), device=torch.device("cuda"))

    found = evaluate(model.cuda(), pictures(2), gpu, batch_size=8, label="test").logits

    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
