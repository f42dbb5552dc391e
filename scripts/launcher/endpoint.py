"""Asking an endpoint about pictures, from several threads at once; a client of docs/http.md at a URL.

Called by `invoke.py` and `demo.py`; `sagemaker_endpoint` has the clients of SageMaker's endpoints. A
prediction changes nothing on the server, so a request that got no answer because the connection broke or the
queue was full is sent again; one that was refused is not.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from launcher.errors import SettingsError, WorkFailed
from launcher.pictures import NPY, readable
from launcher.predictions import Explanation, Prediction, Ranked

JSON = "application/json"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"  # the header of a request's options
EXPLAIN = "explain=true"
ATTEMPTS = 4
# The platform gives /invocations 60 s.
TIMEOUT = httpx.Timeout(65, connect=5)

Item = TypeVar("Item")
Answered = TypeVar("Answered")


class Refused(Exception):  # noqa: N818 - what happened, as the server puts it
    """The endpoint answered that a request's content is wrong (status 400, 406, 413 or 415)."""


class NoAnswer(WorkFailed):
    """The endpoint failed (status 5xx), or could not be reached any more."""


@dataclass(frozen=True)
class Reply:
    """What was answered: by which variant, where there are some, and after how many seconds."""

    body: bytes
    variant: str = ""
    seconds: float | None = None


class Client(ABC):
    """Asks one endpoint about pictures; use it as a context, so that its connections are closed."""

    @abstractmethod
    def ask(self, body: bytes, content_type: str, accept: str = JSON, attributes: str = "") -> Reply:
        """Send one body; `attributes` are options as docs/http.md has them.

        With `application/x-npy` both ways this is the array contract: float32 (N, 3, S, S) in, logits
        (N, classes) out. Raises Refused for 4xx, NoAnswer for everything else that is not an answer.
        """

    def close(self) -> None:  # noqa: B027 - not all have some
        """Close its connections."""

    def give_up(self, ending: BaseException) -> None:  # noqa: B027 - most answers come in a moment
        """Wait for no answer any more; notes what of it goes on elsewhere."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def predict(self, file: Path, attributes: str = "") -> list[Prediction]:
        """Ask about one file: a picture, or an .npy of normalised ones, which has a prediction for each.

        An unreadable or refused file is a prediction with an error; NoAnswer is raised.
        """
        try:
            body, content_type = readable(file)
            reply = self.ask(body, content_type, attributes=attributes)
            answers = json.loads(reply.body)["predictions"]
        except OSError as error:
            return [Prediction(str(file), error=error.strerror or str(error))]
        except Refused as error:
            return [Prediction(str(file), error=str(error))]
        names = [str(file)] if content_type != NPY else [f"{file}[{row}]" for row in range(len(answers))]
        return [
            replace(_prediction(name, answer), variant=reply.variant, seconds=reply.seconds)
            for name, answer in zip(names, answers, strict=True)
        ]

    def predict_all(self, files: Iterable[Path], clients: int) -> Iterator[list[Prediction]]:
        """Ask about many files, `clients` at a time, and yield the answers in the files' order."""
        return self.several(self.predict, files, clients)

    def several(
        self, ask: Callable[[Item], Answered], items: Iterable[Item], clients: int
    ) -> Iterator[Answered]:
        """Call `ask`, which asks this endpoint, for many items, some at a time; yields in their order."""
        pool = ThreadPoolExecutor(clients, thread_name_prefix="client")
        try:
            yield from pool.map(ask, items)
        except BaseException as ending:
            self.give_up(ending)
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class EndpointClient(Client):
    """A client of an endpoint at a URL."""

    url: str
    http: httpx.Client

    @classmethod
    def connect(cls, url: str) -> Self:
        """Return a client of an endpoint that answers; SettingsError if none does."""
        # A proxy for the outside world has no business between us and this machine.
        direct = {f"all://{host}": httpx.HTTPTransport() for host in ("127.0.0.1", "localhost")}
        try:
            client = cls(url.rstrip("/"), httpx.Client(timeout=TIMEOUT, mounts=direct))
            client.http.get(f"{client.url}/ping").raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SettingsError(
                f"no endpoint answers at {url} ({error}): start one with `make serve`"
            ) from None
        return client

    def close(self) -> None:
        """Close its connections."""
        self.http.close()

    def ask(self, body: bytes, content_type: str, accept: str = JSON, attributes: str = "") -> Reply:
        """Post one body to /invocations."""
        headers = {"Content-Type": content_type, "Accept": accept}
        if attributes:
            headers[ATTRIBUTES] = attributes
        reason = ""
        for attempt in range(ATTEMPTS):
            time.sleep(0.2 * (2**attempt - 1))
            began = time.perf_counter()
            try:
                answer = self.http.post(f"{self.url}/invocations", content=body, headers=headers)
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            except httpx.TimeoutException as error:
                # Not sent again: the server may still be at work on it, and would have it twice.
                raise NoAnswer(f"{self.url} did not answer in time ({type(error).__name__})") from None
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                seconds = time.perf_counter() - began
                return Reply(accepted(answer.status_code, answer.content), seconds=seconds)
            reason = "503: its queue is full"
        raise NoAnswer(f"{self.url} did not answer, {ATTEMPTS} times: {reason}")


def _prediction(name: str, answer: Mapping[str, Any]) -> Prediction:
    """One picture's part of an answer, `{"top": […]}` or `{"error": {…}}`."""
    if error := answer.get("error"):
        return Prediction(name, error=f"{error['code']}: {error['message']}")
    found = answer.get("explanation")
    explanation = Explanation(found["map"], found["box"]) if found else None
    return Prediction(name, tuple(Ranked(**entry) for entry in answer["top"]), explanation=explanation)


def accepted(status: int, body: bytes) -> bytes:
    """Return an answer's body; raises Refused for one of 4xx, NoAnswer for every other error."""
    if httpx.codes.is_success(status):
        return body
    try:
        error = json.loads(body)["error"]
        reason = f"{status} {error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):  # the model server's own answers have other bodies
        reason = f"{status} {httpx.codes.get_reason_phrase(status)}"
    if httpx.codes.is_client_error(status):
        raise Refused(reason)
    raise NoAnswer(f"the endpoint failed: {reason}")
