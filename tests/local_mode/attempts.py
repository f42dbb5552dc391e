"""Where this process tries to connect to, seen by Python itself.

Used by `test_local_mode`, to show that nobody outside this machine is asked or told anything.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_LOCAL = {"127.0.0.1", "::1", "localhost"}
_LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname"}


@contextmanager
def watched_attempts() -> Iterator[list[str]]:
    """Refuse every host outside this machine that is looked up or connected to meanwhile, and list it."""
    outside: list[str] = []
    watches = _hooked()
    watches.append(outside)
    yield outside
    watches.remove(outside)


@cache  # an audit hook cannot be taken away again
def _hooked() -> list[list[str]]:
    watches: list[list[str]] = []

    def refuse_outside(event: str, arguments: tuple[Any, ...]) -> None:
        host = _host(event, arguments) if watches else None
        if host is not None and host not in _LOCAL:
            watches[-1].append(host)
            raise ConnectionRefusedError(f"this test talks to nobody outside: not to {host}")

    sys.addaudithook(refuse_outside)
    return watches


def _host(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event in _LOOK_UPS:
        return str(arguments[0])
    if event == "socket.connect" and isinstance(arguments[1], tuple):  # else a socket in the file system
        return str(arguments[1][0])
    return None
