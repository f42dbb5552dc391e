"""An endpoint on this machine: unpack the model, start the workload, wait until it is healthy, stop it.

Both local backends call `host`; they differ only in how they start the workload.
"""

import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx

from launcher import archives, requests, workloads
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.workloads import Log, OnLine, Workload


class EndpointFailed(WorkFailed):
    """The serving container ended, or did not become healthy in time; the message has its last log lines."""


@dataclass(frozen=True)
class RunningEndpoint:
    """An endpoint that answers; `check` raises EndpointFailed once it does not any more."""

    name: str
    url: str
    check: Callable[[], None]


@contextmanager
def host(
    model: Request,
    config: Request,
    endpoint: Request,
    *,
    port: int,
    start: Callable[[Path, int], AbstractContextManager[Workload]],
    on_line: OnLine,
) -> Iterator[RunningEndpoint]:
    """Serve a model on 127.0.0.1 for as long as the context lasts; port 0 takes a free one.

    `start` is given a folder that holds `model/`, and the port. Raises SettingsError when the port is in
    use or the model is not there, EndpointFailed when the workload ends or is not healthy in time.
    """
    archive = requests.local_path(model["PrimaryContainer"]["ModelDataUrl"])
    if not archive.is_file():
        raise SettingsError(f"there is no model at {archive}: train one first (make train), or name another")
    port = _reserve(port)
    folder = Path(tempfile.mkdtemp(prefix=f"{endpoint['EndpointName']}-"))
    try:
        (folder / "model").mkdir()
        archives.unpack(archive, folder / "model")
        with start(folder, port) as workload:
            log = Log(workload.output(), on_line)
            url = f"http://127.0.0.1:{port}"
            _wait_until_healthy(workload, log, url, _startup_seconds(config))
            yield RunningEndpoint(endpoint["EndpointName"], url, lambda: _check(workload, log))
        log.finish()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _startup_seconds(config: Request) -> float:
    """Return the variant's start-up limit; the platform's own default is 8 minutes."""
    return float(config["ProductionVariants"][0].get("ContainerStartupHealthCheckTimeoutInSeconds", 480))


def _reserve(port: int) -> int:
    """Check that a port can be had and return it; port 0 is any that is free."""
    if port == 0:
        return _free_port()
    if (reason := _obstacle(port)) is not None:
        raise SettingsError(
            f"port {port} on 127.0.0.1 cannot be used ({reason}): "
            "choose another one with --port, or --port 0 for any that is free"
        )
    return port


def _free_port() -> int:
    """Choose among ports that the system gives to nobody by itself; the model server takes no higher ones."""
    while _obstacle(port := random.randrange(20_000, 32_000)) is not None:  # noqa: S311 - no secret
        continue
    return port


def _obstacle(port: int) -> str | None:
    """Return why nothing can listen on a port, or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or str(error)
        except OverflowError:
            return "ports end at 65535"
    return None


def _wait_until_healthy(workload: Workload, log: Log, url: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with httpx.Client(trust_env=False, timeout=2) as client:
        while not _healthy(client, url):
            _check(workload, log)
            if time.monotonic() > deadline:
                raise EndpointFailed(_last_words(log, f"/ping did not answer 200 within {seconds:.0f} s"))
            time.sleep(workloads.POLL_SECONDS)


def _healthy(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/ping").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False  # not listening yet: the loop above knows when to stop asking


def wait(running: Collection[RunningEndpoint]) -> NoReturn:
    """Wait as long as all of them serve; raises EndpointFailed when one ends by itself."""
    while True:
        for each in running:
            each.check()
        time.sleep(workloads.POLL_SECONDS)


def _check(workload: Workload, log: Log) -> None:
    log.check()
    if (code := workload.exit_code()) is not None:
        log.finish()
        raise EndpointFailed(_last_words(log, f"the serving container ended with exit code {code}"))


def _last_words(log: Log, what: str) -> str:
    return "\n".join([what, "its last log lines:", *log.last_lines])
