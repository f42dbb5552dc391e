"""The endpoints that the page can talk to: one at a URL, or one of SageMaker's by its name.

Made by `ui.py`, asked by `launcher.ui.server`. Whatever goes wrong is an answer too, in the form of the
errors of docs/http.md, because the person who has to read it is in front of the page.
"""

import json
from dataclasses import dataclass
from typing import Protocol, Self

import httpx

from launcher import aws
from launcher.endpoint import ATTRIBUTES, JSON, EndpointClient
from launcher.errors import SettingsError, WorkFailed
from launcher.sagemaker_endpoint import SageMakerClient

PICTURE = "application/x-image"  # any format that the endpoint reads, told by its content


@dataclass(frozen=True)
class Answer:
    """What came of one picture: a status of HTTP and JSON, `predictions` or `error`."""

    status: int
    body: bytes
    server_timing: str = ""  # the header, where the endpoint sends one: SageMaker does not pass it on

    @classmethod
    def error(cls, status: int, code: str, message: str) -> Self:
        """Return an error in the form of docs/http.md."""
        return cls(status, json.dumps({"error": {"code": code, "message": message}}).encode())


class Endpoint(Protocol):
    """Something that answers for one picture."""

    @property
    def name(self) -> str:
        """What the page calls it."""

    def ask(self, picture: bytes, attributes: str) -> Answer:
        """Return the answer for the bytes of one picture; `attributes` as `top_k=5,explain=true`."""


@dataclass(frozen=True)
class UrlEndpoint:
    """An endpoint of docs/http.md at a URL."""

    client: EndpointClient

    @property
    def name(self) -> str:
        """Its URL."""
        return self.client.url

    def ask(self, picture: bytes, attributes: str) -> Answer:
        """Post to /invocations."""
        headers = {"Content-Type": PICTURE, "Accept": JSON, ATTRIBUTES: attributes}
        try:
            answer = self.client.http.post(f"{self.name}/invocations", content=picture, headers=headers)
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            return Answer.error(504, "timeout", f"{self.name} did not answer in time")
        except httpx.TransportError:
            return Answer.error(
                502, "unreachable", f"no endpoint answers at {self.name}: is it still running?"
            )
        return _in_json(answer.status_code, answer.content, answer.headers.get("Server-Timing", ""))


@dataclass(frozen=True)
class SageMakerEndpoint:
    """An endpoint of the account that the environment names."""

    client: SageMakerClient

    @classmethod
    def connect(cls, name: str, region: str | None) -> Self:
        """Return the endpoint of that name; SettingsError where no region is known."""
        return cls(SageMakerClient(name, aws.client("sagemaker-runtime", region=region)))

    @property
    def name(self) -> str:
        """Its name and where it is."""
        return f"{self.client.endpoint} on SageMaker, {self.client.runtime.meta.region_name}"

    def ask(self, picture: bytes, attributes: str) -> Answer:
        """Call InvokeEndpoint."""
        try:
            with aws.explained():
                status, body, _ = self.client.post(picture, PICTURE, JSON, attributes)
        except (SettingsError, WorkFailed) as error:
            return Answer.error(502, "aws", str(error))
        return _in_json(status, body)


def _in_json(status: int, body: bytes, server_timing: str = "") -> Answer:
    """Return the answer if it is of docs/http.md; of anything else, such as a gateway's page, its status."""
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    expected = "predictions" if status == httpx.codes.OK else "error"
    if not isinstance(content, dict) or expected not in content:
        return Answer.error(
            status if status >= httpx.codes.BAD_REQUEST else 502,
            "unknown",
            f"it answered {status} with something else than docs/http.md says",
        )
    return Answer(status, body, server_timing)
