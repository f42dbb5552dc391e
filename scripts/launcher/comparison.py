"""Two variants of an endpoint, or two endpoints, asked about the same labelled pictures: which is better?

Called by `invoke.py --compare`. Both are asked about each picture, so the answers are compared in pairs:
right and wrong ones by McNemar's exact test, the times by an interval of the median difference.
"""

import json
import math
import random
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from launcher import plain_text
from launcher.endpoint import Client
from launcher.predictions import Prediction

SIGNIFICANT = 0.05
RESAMPLES = 2000
SHOWN = 5  # names in a message
FORMATS = ("table", "json")


@dataclass(frozen=True)
class Pair:
    """What both say about one picture, and its class."""

    truth: str
    a: Prediction
    b: Prediction


@dataclass(frozen=True)
class Result:
    """Counts over the pictures that both have answered, and what follows from them; times in milliseconds."""

    a: str
    b: str
    pictures: int
    unanswered: int
    right_a: int
    right_b: int
    only_a: int  # right where the other is wrong
    only_b: int
    agree: int
    p_value: float
    median_ms_a: float
    median_ms_b: float
    slower_ms: float  # the median of what B takes longer
    slower_ms_interval: tuple[float, float]  # of 95 %
    never_named: tuple[str, ...] = ()  # classes of pictures that no answer has among its most probable


def ask(a: Client, b: Client, classes: Mapping[Path, str], clients: int) -> Iterator[Pair]:
    """Ask both about each picture, in turn one and the other first, so that none profits from its place."""

    def one(numbered: tuple[int, Path]) -> Pair:
        number, file = numbered
        order = (a, b) if number % 2 == 0 else (b, a)
        [first], [second] = (client.predict(file) for client in order)
        return Pair(classes[file], *((first, second) if number % 2 == 0 else (second, first)))

    return a.several(one, enumerate(classes), clients)


def result(names: tuple[str, str], pairs: Sequence[Pair]) -> Result:
    """Count, and test."""
    answered = [pair for pair in pairs if not (pair.a.error or pair.b.error)]
    never_named = _never_named(answered)
    right = [(pair.a.top[0].name == pair.truth, pair.b.top[0].name == pair.truth) for pair in answered]
    only_a, only_b = right.count((True, False)), right.count((False, True))
    both = right.count((True, True))
    times = [((pair.a.seconds or 0) * 1000, (pair.b.seconds or 0) * 1000) for pair in answered]
    differences = [b - a for a, b in times]
    return Result(
        *names,
        pictures=len(answered),
        unanswered=len(pairs) - len(answered),
        right_a=both + only_a,
        right_b=both + only_b,
        only_a=only_a,
        only_b=only_b,
        agree=sum(pair.a.top[0].name == pair.b.top[0].name for pair in answered),
        p_value=mcnemar(only_a, only_b),
        median_ms_a=_median([a for a, _ in times]),
        median_ms_b=_median([b for _, b in times]),
        slower_ms=_median(differences),
        slower_ms_interval=median_interval(differences),
        never_named=never_named,
    )


def _never_named(answered: Sequence[Pair]) -> tuple[str, ...]:
    """Return the classes that are probably not the models': an endpoint tells its best classes alone."""
    truths = {pair.truth for pair in answered}
    named = {ranked.name for pair in answered for ranked in (*pair.a.top, *pair.b.top)}
    return tuple(sorted(truths - named))


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def mcnemar(only_a: int, only_b: int) -> float:
    """Return how probable at least such a difference is if both are right equally often (exact, two-sided).

    McNemar 1947: of the pictures that one alone has right, each is then a coin's toss.
    """
    tosses, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(tosses, count) for count in range(fewer + 1))
    chance: float = 2 * tail / 2**tosses
    return min(1.0, chance)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval of 95 % of the median, by bootstrap; the same values give the same interval."""
    if not values:
        return 0.0, 0.0
    chance = random.Random(7)  # noqa: S311 - no secret
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def show(found: Result, form: str) -> None:
    """Print a result, in words or as JSON."""
    print(
        json.dumps(asdict(found), indent=1) if form == "json" else plain_text.lines("\n".join(lines(found)))
    )


def lines(found: Result) -> Iterator[str]:
    """Say what a result means."""
    yield f"{found.pictures:,} pictures asked of both {found.a} and {found.b}"
    if found.unanswered:
        yield f"  {found.unanswered:,} more are left out: one of the two could not answer"
    if not found.pictures:
        return
    if found.never_named:
        yield (
            f"  no answer names {_some(found.never_named)}: "
            "where the model has no such class, all pictures of the folder count as wrong"
        )
    for name, right in ((found.a, found.right_a), (found.b, found.right_b)):
        yield f"accuracy of {name}: {right / found.pictures:.2%} ({right:,} right)"
    yield (
        f"they agree on {found.agree / found.pictures:.2%}; "
        f"only {found.a} is right {found.only_a:,} times, only {found.b} {found.only_b:,} times"
    )
    yield _verdict(found)
    yield _times(found)


def _verdict(found: Result) -> str:
    better = found.a if found.only_a > found.only_b else found.b
    if found.p_value < SIGNIFICANT:
        return (
            f"{better} is better: were both equally good, such a difference or a greater one would be chance "
            f"in {found.p_value:.2g} of such comparisons (McNemar's exact test)"
        )
    return (
        f"neither is shown to be better: were both equally good, chance alone would make such a difference "
        f"in {found.p_value:.2g} of such comparisons (McNemar's exact test)"
    )


def _times(found: Result) -> str:
    low, high = found.slower_ms_interval
    medians = f"{found.a} {found.median_ms_a:.1f} ms, {found.b} {found.median_ms_b:.1f} ms at the median"
    if low <= 0 <= high:
        return f"latency: {medians}; neither is shown to be faster ({low:+.1f} to {high:+.1f} ms, 95 %)"
    faster = found.a if low > 0 else found.b
    size = sorted((abs(low), abs(high)))
    return f"latency: {medians}; {faster} is faster by {size[0]:.1f} to {size[1]:.1f} ms (95 %)"
