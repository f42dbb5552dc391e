"""Temperature and calibration error: exact where a formula is known, harmless everywhere."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from trainer.calibration import BOUNDS, expected_calibration_error, fit_temperature


def loss(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> float:
    return functional.cross_entropy(logits.double() / temperature, targets).item()


def doubting_loss(logits: Tensor, targets: Tensor, temperature: float) -> float:
    """The loss when one answer of n + 2 belongs to the likeliest class but the target."""
    doubt = 1 / (len(targets) + 2)
    others = logits.double().scatter(1, targets[:, None], -math.inf).argmax(dim=1)
    return (1 - doubt) * loss(logits, targets, temperature) + doubt * loss(logits, others, temperature)


def breeds(pictures: int) -> tuple[Tensor, Tensor]:
    """Logits of 133 classes some of which look alike, and targets."""
    generator = torch.Generator().manual_seed(1)
    looks = functional.normalize(torch.randn(133, 12, generator=generator))
    targets = torch.randint(133, (pictures,), generator=generator)
    seen = looks[targets] + 0.21 * torch.randn(pictures, 12, generator=generator)
    return seen @ looks.T * 14, targets


@st.composite
def answers(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits of any scale, (N, C), and targets, which they know more or less well."""
    pictures, classes = draw(st.integers(1, 40)), draw(st.integers(2, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    targets = torch.randint(classes, (pictures,), generator=generator)
    known = functional.one_hot(targets, classes) * draw(st.floats(-2, 6))
    logits = known + torch.randn(pictures, classes, generator=generator)
    return logits * 10 ** draw(st.floats(-3, 3)), targets


@pytest.mark.parametrize(("right", "wrong", "gap"), [(9, 1, 6.0), (3, 1, 0.4), (99, 1, 1.0)])
def test_two_classes_with_one_gap_get_the_temperature_of_the_formula(
    right: int, wrong: int, gap: float
) -> None:
    # Every answer has the log-odds `gap`, and the share `a` of them is right: sigmoid(gap / T) = a.
    logits = torch.tensor([[gap, 0.0]]).repeat(right + wrong, 1)
    targets = torch.tensor([0] * right + [1] * wrong)
    believed = right + wrong + 1  # of each answer, and 1 of it doubted
    odds = (right * believed + wrong) / (wrong * believed + right)

    assert fit_temperature(logits, targets) == pytest.approx(gap / math.log(odds), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_that_logits_were_scaled_with_is_found(temperature: float) -> None:
    generator = torch.Generator().manual_seed(7)
    truth = torch.randn(5_000, 10, generator=generator) * 2
    targets = torch.multinomial(torch.softmax(truth, 1), 1, generator=generator).flatten()

    assert fit_temperature(truth * temperature, targets) == pytest.approx(temperature, rel=0.05)


@settings(deadline=None)
@given(answers())
def test_the_temperature_is_in_bounds_and_the_best_there(pair: tuple[Tensor, Tensor]) -> None:
    logits, targets = pair

    temperature = fit_temperature(logits, targets)

    assert BOUNDS[0] <= temperature <= BOUNDS[1]
    best = doubting_loss(logits, targets, temperature)
    for other in (1.0, *BOUNDS, temperature * 0.99, temperature / 0.99):
        than = doubting_loss(logits, targets, min(max(other, BOUNDS[0]), BOUNDS[1]))
        assert best <= than + 1e-9 * (1 + than)


@pytest.mark.parametrize("pictures", [1, 9, 1000])
@pytest.mark.parametrize("gap", [1.0, 8.0])
def test_answers_that_are_all_right_are_as_sure_as_so_many_pictures_allow(pictures: int, gap: float) -> None:
    logits = torch.tensor([[gap, 0.0]]).repeat(pictures, 1)

    temperature = fit_temperature(logits, torch.zeros(pictures, dtype=torch.long))

    sure = torch.sigmoid(torch.tensor(gap / temperature, dtype=torch.float64)).item()
    assert sure == pytest.approx((pictures + 1) / (pictures + 2), rel=1e-6)


def test_a_validation_split_without_a_mistake_does_not_wreck_the_probabilities_of_others() -> None:
    logits, targets = breeds(1_200)
    right = (logits.argmax(dim=1) == targets).nonzero().flatten()[:40]

    temperature = fit_temperature(logits[right], targets[right])

    assert loss(logits, targets, temperature) < 1.5 * loss(logits, targets)


def test_a_usual_validation_split_gives_the_likeliest_temperature_within_one_percent() -> None:
    logits, targets = breeds(1_200)
    assert (logits.argmax(dim=1) == targets).double().mean() == pytest.approx(0.87, abs=0.01)

    temperature = fit_temperature(logits, targets)

    reached = loss(logits, targets, temperature)
    assert reached < loss(logits, targets, temperature * 0.99)
    assert reached < loss(logits, targets, temperature * 1.01)


def test_answers_that_are_all_wrong_give_the_upper_bound() -> None:
    assert fit_temperature(torch.eye(4), torch.arange(4).roll(1)) == pytest.approx(BOUNDS[1])


def test_logits_without_any_difference_keep_their_scale() -> None:
    assert fit_temperature(torch.ones(5, 3), torch.tensor([0, 1, 2, 0, 1])) == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_precision_of_the_logits_does_not_matter(dtype: torch.dtype) -> None:
    logits = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [3.0, 0.0]], dtype=dtype)

    temperature = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))

    assert temperature == pytest.approx(3 / math.log((3 * 5 + 1) / (5 + 3)), rel=1e-9)


def reference_calibration_error(probabilities: Tensor, targets: Tensor, bins: int) -> float:
    """Equations 1 to 3 of Guo et al., 2017, sum by sum."""
    result = 0.0
    for number in range(1, bins + 1):
        members = [
            (max(row), row.index(max(row)) == target)
            for row, target in zip(probabilities.tolist(), targets.tolist(), strict=True)
            if (number - 1) / bins < max(row) <= number / bins
        ]
        if members:
            confidence = sum(member[0] for member in members) / len(members)
            accuracy = sum(member[1] for member in members) / len(members)
            result += len(members) / len(targets) * abs(accuracy - confidence)
    return result


@settings(deadline=None)
@given(answers(), st.integers(1, 20))
def test_the_calibration_error_is_the_papers_and_a_share(pair: tuple[Tensor, Tensor], bins: int) -> None:
    probabilities = torch.softmax(pair[0].double(), dim=1)

    error = expected_calibration_error(probabilities, pair[1], bins=bins)

    assert 0 <= error <= 1
    assert error == pytest.approx(reference_calibration_error(probabilities, pair[1], bins), abs=1e-9)


def test_answers_as_right_as_they_are_sure_have_no_calibration_error() -> None:
    probabilities = torch.tensor([[0.75, 0.25]]).repeat(4, 1)

    assert expected_calibration_error(probabilities, torch.tensor([0, 0, 0, 1])) == pytest.approx(0)


def test_certain_answers_that_are_wrong_have_the_largest_calibration_error() -> None:
    assert expected_calibration_error(torch.eye(3), torch.tensor([1, 2, 0])) == 1.0


def test_too_much_and_too_little_confidence_do_not_cancel_between_bins() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])

    # 0.9 sure and half right, 0.6 sure and all right: both bins are 0.4 off.
    error = expected_calibration_error(probabilities, torch.tensor([0, 1, 0, 0]), bins=10)

    assert error == pytest.approx(0.4)
