"""How long an endpoint's answers took, as its client saw it. Called by `invoke.py`."""

import math
from collections.abc import Iterator, Sequence

from launcher.predictions import Prediction

SHARES = (50, 90, 99)


def percentile(seconds: Sequence[float], share: int) -> float:
    """Return the time within which `share` percent of the answers were there (nearest rank)."""
    return sorted(seconds)[math.ceil(share / 100 * len(seconds)) - 1]


def lines(predictions: Sequence[Prediction]) -> Iterator[str]:
    """Say it for all answers, and for each variant where several have answered."""
    timed = [each for each in predictions if each.seconds is not None]
    variants = sorted({each.variant for each in timed})
    groups = {"": [each.seconds or 0 for each in timed]}
    if len(variants) > 1:
        groups |= {name: [each.seconds or 0 for each in timed if each.variant == name] for name in variants}
    for name, seconds in groups.items():
        if seconds:
            shown = ", ".join(f"p{share} {percentile(seconds, share) * 1000:.1f} ms" for share in SHARES)
            yield f"latency{f' of {name}' if name else ''}: {shown}, {len(seconds):,} answers"
