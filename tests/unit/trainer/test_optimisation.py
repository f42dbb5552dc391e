"""Step sizes, mixup and averages follow from the step's number."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.config import Hyperparameters
from trainer.optimisation import (
    build_optimizer,
    dropout_mask,
    mix,
    random_generator,
    set_learning_rate,
    share_of_peak,
    update_average,
)


def test_the_step_size_rises_and_falls_along_a_cosine() -> None:
    shares = [share_of_peak(step, steps=100, warmup=0.1) for step in range(100)]

    assert shares.index(max(shares)) == 10
    assert shares[10] == 1
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[55] == pytest.approx(0.5)
    assert 0 < shares[99] < 0.001
    assert share_of_peak(0, steps=100, warmup=0) == 1


@given(steps=st.integers(1, 50), warmup=st.floats(0, 0.9))
def test_every_step_has_a_step_size(steps: int, warmup: float) -> None:
    assert all(0 < share_of_peak(step, steps=steps, warmup=warmup) <= 1 for step in range(steps))


def test_each_stage_learns_at_a_share_of_the_one_above() -> None:
    stages = [[nn.Parameter(torch.ones(1))], [], [nn.Parameter(torch.ones(1))]]
    optimizer = build_optimizer(stages, Hyperparameters(learning_rate=0.1, layer_decay=0.5))

    set_learning_rate(optimizer, step=0, steps=10, warmup=0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.025])
    set_learning_rate(optimizer, step=5, steps=10, warmup=0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.0125])


def test_random_numbers_follow_from_the_numbers_given() -> None:
    def draw(*numbers: int) -> float:
        return torch.rand(1, generator=random_generator(*numbers)).item()

    assert draw(1, 2) == draw(1, 2)
    drawn = {draw(*numbers) for numbers in itertools.product(range(4), repeat=2)}
    assert len(drawn) == 16


def test_dropout_leaves_out_its_share_and_keeps_the_mean() -> None:
    mask = dropout_mask(200, 200, share=0.3, generator=random_generator(0))

    assert (mask == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert mask.mean().item() == pytest.approx(1, abs=0.01)


def test_mixup_mixes_inputs_and_targets_by_one_share() -> None:
    inputs, targets = torch.eye(6), torch.eye(6)

    mixed, goals = mix(inputs, targets, alpha=0.4, numbers=(1, 2))

    assert torch.equal(mixed, goals)
    torch.testing.assert_close(goals.sum(1), torch.ones(6))
    again, _ = mix(inputs, targets, alpha=0.4, numbers=(1, 2))
    other, _ = mix(inputs, targets, alpha=0.4, numbers=(1, 3))
    assert torch.equal(again, mixed)
    assert not torch.equal(other, mixed)


def test_the_average_follows_the_weights_and_forgets_its_start() -> None:
    average, weights = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    for step in range(100):
        update_average(average, weights, decay=0.9, step=step)

    assert average["w"].item() == pytest.approx(1, abs=1e-3)
    before = average["w"].clone()
    update_average(average, {"w": torch.zeros(1)}, decay=0.9, step=100)
    assert average["w"].item() == pytest.approx(0.9 * before.item())
