"""What stands in for the few calls that the moto server lacks."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSResponse


class _Body(BytesIO):
    """An answer's body as botocore reads it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


Answer = Callable[[dict[str, Any]], dict[str, Any]]


def answer(client: Any, operation: str, reply: Answer) -> None:
    """Let one call of a client be answered by a function of its parameters instead of by the server."""

    def send(request: Any, **_: Any) -> AWSResponse:
        body = json.dumps(reply(json.loads(request.body or "{}")), default=lambda time: time.timestamp())
        headers = {"content-type": "application/x-amz-json-1.1"}
        return AWSResponse(request.url, 200, headers, _Body(body.encode()))

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-send.{service}.{operation}", send)
