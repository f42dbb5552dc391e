"""Clients of SageMaker's endpoints: of one that answers at once, and of one that answers in S3.

Called by `invoke.py` and, for the page, by `ui.endpoints`.
"""

import threading
import time
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from launcher import aws, s3_upload, waiting
from launcher.account import Account
from launcher.endpoint import JSON, Client, NoAnswer, Refused, Reply, accepted
from launcher.requests import Request, given
from launcher.s3 import Prefix

QUEUE_SECONDS = 1800  # a first instance takes minutes to come, and a request itself at most fifteen
A_NEW_NAME = "A-NEW-NAME"  # in what is only shown: each request to an asynchronous endpoint makes up its own

Operations = list[tuple[str, Request]]


@dataclass(frozen=True)
class SageMakerClient(Client):
    """Asks an endpoint, one of its variants, or one of the models of a multi-model endpoint."""

    endpoint: str
    runtime: Any
    variant: str = ""
    model: str = ""  # its archive's name below the endpoint's prefix

    def ask(self, body: bytes, content_type: str, accept: str = JSON, attributes: str = "") -> Reply:
        """Call InvokeEndpoint; raises SettingsError, too, as AWS refuses."""
        began = time.perf_counter()
        with aws.explained(missing=f"there is no endpoint {self._asked} in this account and region"):
            status, content, variant = self.post(body, content_type, accept, attributes)
        return Reply(accepted(status, content), variant, time.perf_counter() - began)

    @property
    def _asked(self) -> str:
        return f"{self.endpoint} with a variant {self.variant}" if self.variant else self.endpoint

    def post(
        self, body: bytes, content_type: str, accept: str, attributes: str = ""
    ) -> tuple[int, bytes, str]:
        """Return the container's status and body, and which variant it is of; AWS's own errors are raised."""
        try:
            answer = self.runtime.invoke_endpoint(**self.request(body, content_type, accept, attributes))
        except self.runtime.exceptions.ModelError as error:  # what the container itself refused or failed at
            response = error.response
            return response["OriginalStatusCode"], response["OriginalMessage"].encode(), ""
        return 200, answer["Body"].read(), answer.get("InvokedProductionVariant", "")

    def request(self, body: bytes, content_type: str, accept: str = JSON, attributes: str = "") -> Request:
        """Return the InvokeEndpoint request."""
        request = {
            "EndpointName": self.endpoint,
            "Body": body,
            "ContentType": content_type,
            "Accept": accept,
        }
        return request | given(
            TargetVariant=self.variant, TargetModel=self.model, CustomAttributes=attributes
        )

    def operations(self, body: bytes, content_type: str) -> Operations:
        """Return what is sent to ask, as `arguments.show` takes it."""
        return [("InvokeEndpoint", self.request(body, content_type))]


class AsyncClient(Client):
    """Asks an asynchronous endpoint: by way of files in the project's bucket."""

    def __init__(self, endpoint: str, account: Account) -> None:
        self._endpoint = endpoint
        self._account = account
        self._runtime = account.client("sagemaker-runtime")
        self._unanswered: dict[str, str] = {}  # where each body lies → where its answer will
        self._given_up = threading.Event()

    @cached_property
    def _requests(self) -> Prefix:
        return Prefix(self._account.uri("requests", self._endpoint), self._account.client("s3"))

    def operations(
        self, body: bytes, content_type: str, accept: str = JSON, name: str = A_NEW_NAME
    ) -> Operations:
        """Return what is sent to ask, as `arguments.show` takes it, with what removes the body afterwards."""
        place = {"Bucket": self._requests.bucket, "Key": self._requests.key(name)}
        invocation = {
            "EndpointName": self._endpoint,
            "InputLocation": f"{self._requests.uri}/{name}",
            "ContentType": content_type,
            "Accept": accept,
        }
        encryption = s3_upload.encryption(self._account.settings.storage.kms_key)
        return [
            ("PutObject", place | {"Body": body} | encryption),
            ("InvokeEndpointAsync", invocation),
            *(("DeleteObjects", request) for request in self._requests.removals([name])),
        ]

    def ask(self, body: bytes, content_type: str, accept: str = JSON, attributes: str = "") -> Reply:
        """Call InvokeEndpointAsync and wait for what comes of it; raises as AWS refuses, too.

        Where no answer comes the body stays in the bucket, and that is said.
        """
        name = uuid.uuid4().hex
        (_, put), (_, invocation), _ = self.operations(body, content_type, accept, name)
        place = invocation["InputLocation"]
        began = time.perf_counter()
        self._unanswered[place] = ""
        with aws.explained(missing=f"there is no endpoint {self._endpoint} in this account and region"):
            self._requests.client.put_object(**put)
            asked = self._invoked(invocation | given(CustomAttributes=attributes), name)
        self._unanswered[place] = asked["OutputLocation"]
        content = self._answer(place, asked.get("FailureLocation", ""), began)
        self._requests.remove([name])
        del self._unanswered[place]
        return Reply(content, seconds=time.perf_counter() - began)

    def _invoked(self, invocation: Request, name: str) -> dict[str, Any]:
        """Hand the request in; one that is refused leaves nothing in the bucket."""
        try:
            asked: dict[str, Any] = self._runtime.invoke_endpoint_async(**invocation)
        except ClientError:
            self._requests.remove([name])
            del self._unanswered[invocation["InputLocation"]]
            raise
        return asked

    def _answer(self, place: str, failure: str, began: float) -> bytes:
        """Wait until one of two files is there."""
        output = self._unanswered[place]
        for _ in waiting.looks():
            if (content := self._read(output)) is not None:
                return content
            if failure and (reason := self._read(failure)) is not None:
                del self._unanswered[place]
                said = reason.decode(errors="replace")
                raise Refused(f"{self._endpoint} failed: {said} (what it was asked stays at {place})")
            if self._given_up.is_set():
                raise NoAnswer(f"{output} was not waited for")
            if time.perf_counter() - began > QUEUE_SECONDS:
                raise NoAnswer(f"{self._endpoint} has not answered in {QUEUE_SECONDS / 60:.0f} minutes")
        raise AssertionError("looks() does not end")

    def give_up(self, ending: BaseException) -> None:
        """Wait for no answer any more, and note where each will be, and what was asked."""
        self._given_up.set()
        for place, output in self._unanswered.copy().items():
            answer = f", and its answer will be {output}" if output else ""
            ending.add_note(f"what was asked stays at {place}{answer}")

    def _read(self, uri: str) -> bytes | None:
        folder, _, name = uri.rpartition("/")
        return Prefix(folder, self._requests.client).read(name)
