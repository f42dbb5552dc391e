"""How long the stages of one request take.

Measured in `inference.py`, collected by `predictor.transformer` for the `Server-Timing` header.
"""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

_durations: ContextVar[dict[str, float] | None] = ContextVar("durations", default=None)


@contextlib.contextmanager
def collect() -> Iterator[dict[str, float]]:
    """Collect the milliseconds of every stage that is run inside, by name."""
    durations: dict[str, float] = {}
    token = _durations.set(durations)
    try:
        yield durations
    finally:
        _durations.reset(token)


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the time spent inside to the stage `name`, where somebody collects."""
    durations, start = _durations.get(), time.perf_counter()
    try:
        yield
    finally:
        if durations is not None:
            durations[name] = durations.get(name, 0.0) + 1000 * (time.perf_counter() - start)


def server_timing(durations: dict[str, float]) -> str:
    """The value of a `Server-Timing` header (W3C Server Timing), in milliseconds."""
    return ", ".join(f"{name};dur={duration:.2f}" for name, duration in durations.items())
