"""Threads that do work side by side and hold nobody up: a program that ends does not wait for them.

Called by `s3_upload`, `model_source` and `sender`. Those of concurrent.futures are waited for, also where the
network that they ask hangs.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from launcher.errors import WorkFailed

Item = TypeVar("Item")
PATIENCE = 3.0  # seconds for what nobody waits for any longer


def done(work: Callable[[Item], object], items: Iterable[Item], threads: int) -> Generator[Item]:
    """Do the work on each item, and yield each when that is done; raises what the first that fails raises.

    Closed early it begins nothing more, and gives PATIENCE to what has begun.
    """
    waiting, ended = deque(items), SimpleQueue[tuple[Item, Exception | None]]()
    count = len(waiting)

    def take() -> None:
        with suppress(IndexError):  # nothing waits
            while True:
                item = waiting.popleft()
                ended.put((item, _failure(partial(work, item))))

    workers = [Thread(target=take, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(count):
            item, failure = ended.get()
            if failure:
                raise failure
            yield item
    finally:
        waiting.clear()
        deadline = time.monotonic() + PATIENCE
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))


def briefly(work: Callable[[], object]) -> None:
    """Do work and raise what it raises; WorkFailed where that takes longer than PATIENCE."""
    ended = SimpleQueue[Exception | None]()
    Thread(target=lambda: ended.put(_failure(work)), daemon=True).start()
    try:
        failure = ended.get(timeout=PATIENCE)
    except Empty:
        raise WorkFailed(f"no answer within {PATIENCE:.0f} s") from None
    if failure:
        raise failure


def _failure(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - it is raised where the work is waited for
        return error
    return None
