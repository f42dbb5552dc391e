"""Numbers with bounds, as argparse types: what is none, or lies outside, is refused with what would do.

Called by the scripts and by the modules that add their options. `nan` and `inf` lie outside of all bounds.
"""

import argparse
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Number = TypeVar("Number", int, float)


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """Return an argparse type that reads a whole number; both bounds are included."""
    return _reader(int, "whole number", low, high)


def real(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return an argparse type that reads a finite number; both bounds are included."""
    return _reader(float, "number", low, high)


def _reader(kind: Callable[[str], Number], what: str, low: float, high: float) -> Callable[[str], Number]:
    limits = f"from {low:g}" + ("" if high == math.inf else f" to {high:g}")

    def reader(text: str) -> Number:
        with suppress(ValueError):
            if low <= (value := kind(text)) <= high and value != math.inf:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} {limits}")

    return reader


positive = whole(1)
port = whole(0, 65_535)
