"""Two endpoints compared: the counts, the tests, and what is said of them."""

from collections.abc import Iterator

import pytest
from scipy.stats import binomtest

from launcher import comparison, latency
from launcher.comparison import Pair, mcnemar
from launcher.predictions import Prediction, Ranked


def answer(name: str, seconds: float = 0.1, variant: str = "") -> Prediction:
    return Prediction("dog.jpg", (Ranked(name, name, 0.9),), variant=variant, seconds=seconds)


def pairs(
    *, both: int = 0, only_a: int = 0, only_b: int = 0, neither: int = 0, b_seconds: float = 0.1
) -> list[Pair]:
    said = [("x", "x")] * both + [("x", "y")] * only_a + [("y", "x")] * only_b + [("y", "z")] * neither
    return [Pair("x", answer(a), answer(b, b_seconds)) for a, b in said]


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (1, 0), (10, 2), (2, 10), (7, 7), (40, 61), (500, 430)]
)
def test_mcnemars_test_is_the_exact_binomial_one(only_a: int, only_b: int) -> None:
    tosses = only_a + only_b
    expected = binomtest(only_a, tosses).pvalue if tosses else 1.0

    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_answers_are_counted_in_pairs() -> None:
    refused = Pair("x", Prediction("bad.jpg", error="400"), answer("x"))

    found = comparison.result(("A", "B"), [*pairs(both=80, only_a=12, only_b=2, neither=6), refused])

    assert (found.pictures, found.unanswered) == (100, 1)
    assert (found.right_a, found.right_b, found.agree) == (92, 82, 80)
    said = "\n".join(comparison.lines(found))
    assert "accuracy of A: 92.00% (92 right)" in said
    assert "they agree on 80.00%; only A is right 12 times, only B 2 times" in said
    assert (
        "A is better: were both equally good, such a difference or a greater one would be chance in 0.013"
        in said
    )
    assert "1 more are left out" in said


def test_a_difference_that_may_be_chance_is_called_that() -> None:
    said = "\n".join(comparison.lines(comparison.result(("A", "B"), pairs(both=9, only_a=3, only_b=1))))

    assert "neither is shown to be better: were both equally good, chance alone would make" in said
    assert "in 0.62 of such comparisons" in said
    assert "neither is shown to be faster" in said


def test_the_faster_one_is_named_with_by_how_much() -> None:
    said = "\n".join(comparison.lines(comparison.result(("A", "B"), pairs(both=30, b_seconds=0.15))))

    assert "latency: A 100.0 ms, B 150.0 ms at the median; A is faster by 50.0 to 50.0 ms (95 %)" in said


def test_nothing_answered_is_said_without_a_verdict() -> None:
    bad = Pair("x", Prediction("bad.jpg", error="400"), Prediction("bad.jpg", error="400"))

    said = [*comparison.lines(comparison.result(("A", "B"), [bad]))]

    assert said == [
        "0 pictures asked of both A and B",
        "  1 more are left out: one of the two could not answer",
    ]


def timed(variant: str, count: int) -> Iterator[Prediction]:
    return (answer("x", milliseconds / 1000, variant) for milliseconds in range(1, count + 1))


def test_latency_is_told_in_percentiles_and_by_variant() -> None:
    [line] = latency.lines([*timed("", 100), Prediction("bad.jpg", error="400")])
    assert line == "latency: p50 50.0 ms, p90 90.0 ms, p99 99.0 ms, 100 answers"

    everything, a, b = latency.lines([*timed("A", 10), *timed("B", 1)])
    assert everything.endswith("11 answers")
    assert a == "latency of A: p50 5.0 ms, p90 9.0 ms, p99 10.0 ms, 10 answers"
    assert b == "latency of B: p50 1.0 ms, p90 1.0 ms, p99 1.0 ms, 1 answers"
