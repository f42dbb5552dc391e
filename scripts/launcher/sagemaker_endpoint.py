"""Clients of SageMaker's endpoints: of one that answers at once, and of one that answers in S3.

Called by `invoke.py` and, for the page, by `ui.endpoints`.
"""

import time
import uuid
from dataclasses import dataclass
from typing import Any

from launcher import aws, waiting
from launcher.account import Account
from launcher.endpoint import JSON, Client, NoAnswer, Refused, Reply, accepted
from launcher.s3 import Prefix

QUEUE_SECONDS = 1800  # a first instance takes minutes to come, and a request itself at most fifteen


@dataclass(frozen=True)
class SageMakerClient(Client):
    """Asks an endpoint, one of its variants, or one of the models of a multi-model endpoint."""

    endpoint: str
    runtime: Any
    variant: str = ""
    model: str = ""  # its archive's name below the endpoint's prefix

    def ask(self, body: bytes, content_type: str, accept: str = JSON) -> Reply:
        """Call InvokeEndpoint; raises SettingsError, too, as AWS refuses."""
        began = time.perf_counter()
        with aws.explained(missing=f"there is no endpoint {self._asked} in this account and region"):
            status, content, variant = self.post(body, content_type, accept)
        return Reply(accepted(status, content), variant, time.perf_counter() - began)

    @property
    def _asked(self) -> str:
        return f"{self.endpoint} with a variant {self.variant}" if self.variant else self.endpoint

    def post(
        self, body: bytes, content_type: str, accept: str, attributes: str = ""
    ) -> tuple[int, bytes, str]:
        """Return the container's status and body, and which variant it is of; AWS's own errors are raised."""
        options = {"TargetVariant": self.variant, "TargetModel": self.model, "CustomAttributes": attributes}
        try:
            answer = self.runtime.invoke_endpoint(
                EndpointName=self.endpoint,
                Body=body,
                ContentType=content_type,
                Accept=accept,
                **{name: value for name, value in options.items() if value},
            )
        except self.runtime.exceptions.ModelError as error:  # what the container itself refused or failed at
            response = error.response
            return response["OriginalStatusCode"], response["OriginalMessage"].encode(), ""
        return 200, answer["Body"].read(), answer.get("InvokedProductionVariant", "")


class AsyncClient(Client):
    """Asks an asynchronous endpoint: by way of files in the project's bucket."""

    def __init__(self, endpoint: str, account: Account) -> None:
        self._endpoint = endpoint
        self._runtime = account.client("sagemaker-runtime")
        self._requests = Prefix(account.uri("requests", endpoint), account.client("s3"))

    def ask(self, body: bytes, content_type: str, accept: str = JSON) -> Reply:
        """Call InvokeEndpointAsync and wait for what comes of it; raises as AWS refuses, too."""
        name = uuid.uuid4().hex
        s3, key = self._requests.client, self._requests.key(name)
        began = time.perf_counter()
        with aws.explained(missing=f"there is no endpoint {self._endpoint} in this account and region"):
            s3.put_object(Bucket=self._requests.bucket, Key=key, Body=body)
            asked = self._runtime.invoke_endpoint_async(
                EndpointName=self._endpoint,
                InputLocation=f"{self._requests.uri}/{name}",
                ContentType=content_type,
                Accept=accept,
            )
        try:
            content = self._answer(asked["OutputLocation"], asked.get("FailureLocation", ""), began)
        except (KeyboardInterrupt, SystemExit) as ending:
            ending.add_note(f"the answer will be {asked['OutputLocation']}")
            raise
        self._requests.remove([name])
        return Reply(content, seconds=time.perf_counter() - began)

    def _answer(self, output: str, failure: str, began: float) -> bytes:
        """Wait until one of two files is there."""
        for _ in waiting.looks():
            if (content := self._read(output)) is not None:
                return content
            if failure and (reason := self._read(failure)) is not None:
                raise Refused(f"{self._endpoint} failed: {reason.decode(errors='replace')}")
            if time.perf_counter() - began > QUEUE_SECONDS:
                raise NoAnswer(
                    f"{self._endpoint} has not answered in {QUEUE_SECONDS / 60:.0f} minutes: {output}"
                )
        raise AssertionError("looks() does not end")

    def _read(self, uri: str) -> bytes | None:
        folder, _, name = uri.rpartition("/")
        return Prefix(folder, self._requests.client).read(name)
