"""The training loop: exact averages, the best epoch kept, the same losses at the same seed."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainer.backbones import Classifier
from trainer.data import Batches, RobustImageFolder, make_loader
from trainer.engine import Best, Evaluation, evaluate, fit
from trainer.failures import TrainingError
from trainer.transforms import Preprocessing, evaluation_transform

CPU = torch.device("cpu")


def small_classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
    return Classifier(backbone, nn.Linear(8, 3))


@pytest.fixture
def split(pictures: Path) -> RobustImageFolder:
    return RobustImageFolder(pictures / "train", evaluation_transform(Preprocessing(resize=40, crop=32)))


def run(
    split: RobustImageFolder, *, epochs: int = 3, learning_rate: float = 0.01, seed: int = 0
) -> tuple[Best, list[dict[str, float]], Classifier]:
    model, reports = small_classifier(seed), []
    best = fit(
        model,
        make_loader(split, batch_size=7, workers=0, seed=seed, shuffle=True),
        make_loader(split, batch_size=7, workers=0, seed=seed, shuffle=False),
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=0.0,
        device=CPU,
        precision=torch.float32,
        report=lambda values, epoch: reports.append({"epoch": epoch, **values}),
    )
    return best, reports, model


def fit_once(model: Classifier, batches: Batches, *, precision: torch.dtype = torch.float32) -> Best:
    return fit(
        model, batches, batches, epochs=2, learning_rate=0.01, weight_decay=0.0,
        device=CPU, precision=precision, report=lambda values, epoch: None,
    )  # fmt: skip


def answers(model: Classifier, split: RobustImageFolder, batch_size: int) -> Evaluation:
    batches = make_loader(split, batch_size=batch_size, workers=0, seed=0, shuffle=False)
    return evaluate(model, batches, device=CPU, label="test")


def test_averages_do_not_depend_on_the_batch_size(split: RobustImageFolder) -> None:
    model = small_classifier()

    whole, pieces = answers(model, split, 24), answers(model, split, 7)

    assert whole.targets.tolist() == split.targets
    assert pieces.loss == pytest.approx(whole.loss, abs=1e-6)
    assert pieces.accuracy == whole.accuracy
    assert whole.loss == pytest.approx(functional.cross_entropy(whole.logits, whole.targets).item())


def test_training_reports_every_epoch_and_learns(split: RobustImageFolder) -> None:
    best, reports, _ = run(split, epochs=6, learning_rate=0.1)

    assert [report["epoch"] for report in reports] == [1, 2, 3, 4, 5, 6]
    assert reports[-1]["train:loss"] < reports[0]["train:loss"]
    assert best.metrics["validation:accuracy"] > 0.9
    assert all(report["train:images_per_second"] > 0 for report in reports)


def test_the_model_is_left_at_its_best_epoch(split: RobustImageFolder) -> None:
    best, reports, model = run(split, epochs=5, learning_rate=0.1)

    first = max(reports, key=lambda report: (report["validation:accuracy"], -report["validation:loss"]))
    assert best.epoch == first["epoch"]
    assert answers(model, split, 7).accuracy == first["validation:accuracy"]
    assert answers(model, split, 7).loss == pytest.approx(best.metrics["validation:loss"], abs=1e-6)


def test_the_same_seed_gives_the_same_losses(split: RobustImageFolder) -> None:
    first, again, other = (
        [(report["train:loss"], report["validation:loss"]) for report in run(split, seed=seed)[1]]
        for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_a_loss_that_is_no_number_stops_training(split: RobustImageFolder) -> None:
    model = small_classifier()
    next(model.backbone.parameters()).data.fill_(float("nan"))
    batches = make_loader(split, batch_size=8, workers=0, seed=0, shuffle=True)

    with pytest.raises(TrainingError, match="the loss became nan in epoch 1/2: lower learning-rate"):
        fit_once(model, batches)


def test_bfloat16_features_train_the_head_in_float32(split: RobustImageFolder) -> None:
    model = small_classifier()
    batches = make_loader(split, batch_size=8, workers=0, seed=0, shuffle=True)

    best = fit_once(model, batches, precision=torch.bfloat16)

    assert model.head.weight.dtype == torch.float32
    assert best.metrics["train:loss"] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_answers_of_the_processor(split: RobustImageFolder) -> None:
    model = small_classifier()
    expected = answers(model, split, 8).logits

    batches = make_loader(split, batch_size=8, workers=0, seed=0, shuffle=False)
    found = evaluate(model.cuda(), batches, device=torch.device("cuda"), label="test").logits

    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
