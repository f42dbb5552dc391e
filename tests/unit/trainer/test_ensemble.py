"""Ensembles: weights that cannot be worse than the average, and one network that answers for all."""

import itertools

import numpy as np
import openvino
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from trainer.ensemble import Ensemble, combine, fit_weights


def members(
    *, count: int, pictures: int, classes: int, known: list[float], seed: int
) -> tuple[list[Tensor], Tensor]:
    """Log-probabilities of members that know the targets more or less well, and share some mistakes."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (pictures,), generator=generator)
    shared = torch.randn(pictures, classes, generator=generator)
    logits = [
        level * functional.one_hot(targets, classes)
        + shared
        + torch.randn(pictures, classes, generator=generator)
        for level in known[:count]
    ]
    return [functional.log_softmax(member, dim=1) for member in logits], targets


def loss(log_probabilities: list[Tensor], weights: list[float], targets: Tensor) -> float:
    mixed = sum(weight * member.double() for weight, member in zip(weights, log_probabilities, strict=True))
    assert isinstance(mixed, Tensor)
    return functional.cross_entropy(mixed, targets).item()


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Tensor], Tensor]:
    count = draw(st.integers(1, 4))
    return members(
        count=count,
        pictures=draw(st.integers(1, 30)),
        classes=draw(st.integers(2, 6)),
        known=draw(st.lists(st.floats(-3, 20), min_size=count, max_size=count)),
        seed=draw(st.integers(0, 2**31)),
    )


@settings(deadline=None, max_examples=50)
@given(answers())
def test_weights_are_shares_and_never_worse_than_the_average(pair: tuple[list[Tensor], Tensor]) -> None:
    log_probabilities, targets = pair

    weights = fit_weights(log_probabilities, targets)

    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    equal = [1 / len(weights)] * len(weights)
    assert loss(log_probabilities, weights, targets) <= loss(log_probabilities, equal, targets) + 1e-12


@settings(deadline=None, max_examples=30)
@given(answers())
def test_no_other_weights_are_likelier(pair: tuple[list[Tensor], Tensor]) -> None:
    log_probabilities, targets = pair
    grid = [
        [part / 10 for part in parts]
        for parts in itertools.product(range(11), repeat=len(log_probabilities))
        if sum(parts) == 10
    ]

    weights = fit_weights(log_probabilities, targets)

    best = min(loss(log_probabilities, candidate, targets) for candidate in grid)
    assert loss(log_probabilities, weights, targets) <= best + 1e-6


def test_one_member_has_all_the_weight() -> None:
    log_probabilities, targets = members(count=1, pictures=5, classes=3, known=[1.0], seed=0)

    assert fit_weights(log_probabilities, targets) == [1.0]


def test_members_that_answer_alike_share_the_weight() -> None:
    (member,), targets = members(count=1, pictures=50, classes=4, known=[2.0], seed=1)

    assert fit_weights([member, member], targets) == [0.5, 0.5]


def test_a_member_that_guesses_gets_next_to_nothing() -> None:
    (good, bad), targets = members(count=2, pictures=400, classes=5, known=[6.0, 0.0], seed=2)

    weights = fit_weights([good, bad], targets)

    assert weights[0] > 0.999


def test_the_same_answers_always_give_the_same_weights() -> None:
    log_probabilities, targets = members(count=3, pictures=200, classes=5, known=[3, 2, 4], seed=3)

    first, second = (fit_weights(log_probabilities, targets) for _ in range(2))

    assert first == second


def small_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(4, 5)
    ).eval()


def test_the_answer_is_the_weighted_mean_of_the_log_probabilities() -> None:
    networks, images = [small_network(seed) for seed in range(3)], torch.randn(2, 3, 16, 16)
    weights = [0.5, 0.3, 0.2]

    answer = Ensemble(networks, weights)(images)

    parts = [torch.log_softmax(network(images), 1) for network in networks]
    assert torch.allclose(answer, 0.5 * parts[0] + 0.3 * parts[1] + 0.2 * parts[2], atol=1e-6)
    assert torch.equal(answer, combine([network(images) for network in networks], weights))


def test_an_ensemble_of_one_answers_as_its_member() -> None:
    network, images = small_network(0), torch.randn(2, 3, 16, 16)

    answer = Ensemble([network], [1.0])(images)

    assert torch.allclose(answer.softmax(1), network(images).softmax(1), atol=1e-6)


def test_the_weights_belong_to_the_state_of_the_ensemble() -> None:
    saved = Ensemble([small_network(0), small_network(1)], [0.25, 0.75]).state_dict()
    restored = Ensemble([small_network(2), small_network(3)], [0.5, 0.5])

    restored.load_state_dict(saved)

    assert restored.weights.tolist() == [0.25, 0.75]


def test_members_and_weights_must_agree_in_number() -> None:
    with pytest.raises(ValueError, match="2 members cannot have 1 weights"):
        Ensemble([small_network(0), small_network(1)], [1.0])


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
def test_openvino_answers_as_the_ensemble_for_any_number_of_pictures() -> None:
    ensemble = Ensemble([small_network(0), small_network(1)], [0.6, 0.4]).eval()
    converted = openvino.convert_model(
        ensemble, example_input=torch.zeros(2, 3, 16, 16), input=openvino.PartialShape([-1, 3, 16, 16])
    )
    network = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    for pictures in (1, 3):
        images = torch.randn(pictures, 3, 16, 16)
        with torch.inference_mode():
            expected = ensemble(images).numpy()
        assert np.allclose(network([images.numpy()])[0], expected, atol=1e-5)
