"""How the members of a job answer together, and that the exported network answers the same."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.backbones import Classifier, find_backbone
from trainer.engine import Best
from trainer.evaluation import Evaluation
from trainer.job import assemble, settle
from trainer.members import Member
from trainer.weights import Weights

CLASSES, PICTURES = 4, 400


def member(logits: Tensor, targets: Tensor, model: Classifier | None = None) -> Member:
    return Member(
        backbone=find_backbone("efficientnet_lite0"),
        weights=Weights("none"),
        seed=0,
        model=model or small_classifier(0),
        test=None,
        best=Best(1, {"validation:accuracy": 0.5, "validation:loss": 1.0}),
        validation=Evaluation(logits, targets),
    )


def small_classifier(seed: int) -> Classifier:
    torch.manual_seed(seed)
    classifier = Classifier(nn.Conv2d(3, 6, 3), nn.Linear(6, CLASSES))
    nn.init.normal_(classifier.head.weight, std=5)
    return classifier


@pytest.fixture
def answers() -> tuple[Tensor, Tensor, Tensor]:
    """Two members' logits for the same pictures, equally good and wrong about different ones; the targets."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, CLASSES, (PICTURES,), generator=generator)
    truth = 2 * functional.one_hot(targets, CLASSES).float()
    one, other = (truth + torch.randn(PICTURES, CLASSES, generator=generator) for _ in range(2))
    return one, other, targets


def test_a_member_that_is_good_but_unsure_is_heard(answers: tuple[Tensor, Tensor, Tensor]) -> None:
    sure, other, targets = answers

    trained = settle([member(5 * sure, targets), member(other / 5, targets)])

    assert 0.3 < trained.shares[0] < 0.7
    alone = [settle([each]) for each in trained.members]
    together = trained.combine([5 * sure, other / 5]) / trained.temperature
    for single, logits in zip(alone, (5 * sure, other / 5), strict=True):
        assert functional.cross_entropy(together, targets) < functional.cross_entropy(
            logits / single.temperature, targets
        )
    assert trained.metrics["validation:accuracy"] == (together.argmax(1) == targets).double().mean()


def test_one_member_is_its_own_answer(answers: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, _, targets = answers

    trained = settle([member(logits, targets)])

    torch.testing.assert_close(trained.combine([logits]), torch.log_softmax(logits, dim=1))
    assert trained.metrics == {"validation:accuracy": 0.5, "validation:loss": 1.0}


@pytest.mark.parametrize("count", [1, 2])
def test_the_exported_network_gives_the_calibrated_answer(
    answers: tuple[Tensor, Tensor, Tensor], count: int
) -> None:
    targets, images = answers[2], torch.randn(7, 3, 8, 8)
    models = [small_classifier(seed).eval() for seed in range(count)]
    members = [
        member(scale * answers[place], targets, models[place]) for place, scale in enumerate((3, 0.4)[:count])
    ]
    trained = settle(members)
    with torch.inference_mode():
        expected = trained.combine([model(images) for model in models]) / trained.temperature

        found = assemble(trained, classes=CLASSES)(images)

    torch.testing.assert_close(torch.softmax(found, 1), torch.softmax(expected, 1), rtol=1e-4, atol=1e-6)
