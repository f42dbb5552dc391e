"""Step sizes, mixup and averages follow from the step's number."""

import itertools
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.config import Hyperparameters
from trainer.optimisation import (
    Mixture,
    Optimizer,
    dropout_mask,
    random_generator,
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


def stages() -> list[list[nn.Parameter]]:
    generator = torch.Generator().manual_seed(0)
    return [
        [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2), (3,))] for _ in range(2)
    ]


def move(optimizer: Optimizer, shares: list[float]) -> list[torch.Tensor]:
    """Steps with the same gradients every time."""
    generator = torch.Generator().manual_seed(1)
    for share in shares:
        optimizer.zero_gradients()
        for gradient in optimizer.gradients():
            gradient.add_(torch.randn(gradient.shape, generator=generator))
        optimizer.step(share)
    return [weight.detach().clone() for weight in optimizer.weights.values()]


def test_it_moves_weights_as_torchs_sgd_does_each_stage_at_a_share_of_the_one_above() -> None:
    settings, shares = Hyperparameters(learning_rate=0.1, layer_decay=0.5, weight_decay=0.01), [1.0, 0.5, 0.1]
    head, stem = stages()
    reference = torch.optim.SGD(
        [{"params": head, "peak": 0.1}, {"params": stem, "peak": 0.05}],
        lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    for share in shares:
        for parameter in [*head, *stem]:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for group in reference.param_groups:
            group["lr"] = group["peak"] * share
        reference.step()

    found = move(Optimizer(stages(), settings), shares)

    for one, other in zip(found, [*head, *stem], strict=True):
        torch.testing.assert_close(one, other.detach())


def test_it_goes_on_from_its_momentum_as_if_it_had_never_stopped() -> None:
    settings = Hyperparameters(learning_rate=0.1)
    whole = move(Optimizer(stages(), settings), [1.0, 0.5])
    first, second = Optimizer(stages(), settings), Optimizer(stages(), settings)
    move(first, [1.0])
    with torch.no_grad():
        for name, weight in second.weights.items():
            weight.copy_(first.weights[name])
            second.momentum[name].copy_(first.momentum[name])
    generator = torch.Generator().manual_seed(1)
    for gradient in second.gradients():
        torch.randn(gradient.shape, generator=generator)  # the first step's
    for gradient in second.gradients():
        gradient.add_(torch.randn(gradient.shape, generator=generator))
    second.step(0.5)

    assert all(torch.equal(one, other) for one, other in zip(whole, second.weights.values(), strict=True))


def test_a_step_does_not_wait_for_torchs_compiler_to_be_imported() -> None:
    program = """if True:
        import sys, torch
        from trainer.config import Hyperparameters
        from trainer.optimisation import Optimizer
        optimizer = Optimizer([[torch.nn.Parameter(torch.ones(2))]], Hyperparameters())
        optimizer.zero_gradients()
        optimizer.step(1.0)
        assert "torch._dynamo" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True)


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

    def mixture(*numbers: int) -> Mixture:
        return Mixture.drawn(6, alpha=0.4, numbers=numbers)

    mixed, goals = mixture(1, 2).mix(inputs), mixture(1, 2).mix(targets)

    assert torch.equal(mixed, goals)
    torch.testing.assert_close(goals.sum(1), torch.ones(6))
    assert torch.equal(mixture(1, 2).mix(inputs), mixed)
    assert not torch.equal(mixture(1, 3).mix(inputs), mixed)


@given(size=st.integers(1, 12), ranks=st.integers(1, 5))
def test_the_ranks_together_mix_what_one_mixes(size: int, ranks: int) -> None:
    rows, whole = torch.eye(size), Mixture.drawn(size, alpha=0.4, numbers=(1, 2))
    expected = whole.mix(rows)

    for rank in range(ranks):
        part, wanted = whole.part(rank, ranks)
        assert torch.equal(part.mix(torch.cat([rows[rank::ranks], rows[wanted]])), expected[rank::ranks])


def test_the_average_follows_the_weights_and_forgets_its_start() -> None:
    average, weights = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    for step in range(100):
        update_average(average, weights, decay=0.9, step=step)

    assert average["w"].item() == pytest.approx(1, abs=1e-3)
    before = average["w"].clone()
    update_average(average, {"w": torch.zeros(1)}, decay=0.9, step=100)
    assert average["w"].item() == pytest.approx(0.9 * before.item())
