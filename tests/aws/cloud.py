"""AWS as the tests have it: a moto server over HTTP, with a layer in front of it.

The layer notes every call (`Cloud.calls`, as the actions of an IAM policy), removes the empty structures that
moto returns where there is nothing, answers what moto lacks, edits its answers, passes InvokeEndpoint on to a
server of this machine, and injects faults: throttling, expired credentials, a connection that is cut. So
scripts can be run as they are, as processes of their own.
"""

import json
import random
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
JSON = "application/x-amz-json-1.1"
REGION = "eu-central-1"
# S3 says what is asked by method and query; the names are those of IAM's actions.
S3_BY_QUERY = {
    "uploads": {"POST": "PutObject", "GET": "ListBucketMultipartUploads"},
    "uploadId": {
        "PUT": "PutObject",
        "POST": "PutObject",
        "DELETE": "AbortMultipartUpload",
        "GET": "ListMultipartUploadParts",
    },
    "versioning": {"PUT": "PutBucketVersioning", "GET": "GetBucketVersioning"},
    "encryption": {"PUT": "PutEncryptionConfiguration", "GET": "GetEncryptionConfiguration"},
    "publicAccessBlock": {"PUT": "PutBucketPublicAccessBlock", "GET": "GetBucketPublicAccessBlock"},
    "policy": {"PUT": "PutBucketPolicy", "GET": "GetBucketPolicy", "DELETE": "DeleteBucketPolicy"},
    "lifecycle": {"PUT": "PutLifecycleConfiguration", "GET": "GetLifecycleConfiguration"},
    "ownershipControls": {"PUT": "PutBucketOwnershipControls", "GET": "GetBucketOwnershipControls"},
    "tagging": {"PUT": "PutBucketTagging", "GET": "GetBucketTagging"},
    "location": {"GET": "GetBucketLocation"},
    "versions": {"GET": "ListBucketVersions"},
    "delete": {"POST": "DeleteObject"},
}
S3_BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
S3_OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
# What the scripts ask and moto has not: each is answered here or by a test's `Cloud.replies`, which otherwise
# inject faults and let work take its time: moto's has ended at once. test_stand_ins.py holds this to moto.
LACKING = {
    "pricing:GetProducts",
    "sagemaker:InvokeEndpoint",
    "sagemaker:InvokeEndpointAsync",
    "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
    "sagemaker:StopHyperParameterTuningJob",
    "sagemaker:StopTrainingJob",
    "sagemaker:StopTransformJob",
    "sagemaker:UpdateEndpoint",
    "sagemaker:UpdateTrainingJob",
    "servicequotas:ListServiceQuotas",
}
# Where a service signs under another name than IAM has for it.
IAM_PREFIX = {"monitoring": "cloudwatch", "tagging": "tag"}
# Of SageMaker moto's Tagging API knows nothing: the kinds of ARN, and where moto has each.
SAGEMAKER_TAGGED = {
    "endpoint": "endpoints",
    "endpoint-config": "endpoint_configs",
    "hyper-parameter-tuning-job": "hyper_parameter_tuning_jobs",
    "model": "_models",
    "processing-job": "processing_jobs",
    "training-job": "training_jobs",
    "transform-job": "transform_jobs",
}


@dataclass(frozen=True)
class Call:
    """One request: its service as it is signed, its operation, and its body."""

    service: str
    operation: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)  # by their names in lower case

    @property
    def action(self) -> str:
        """As an IAM policy has it."""
        return f"{IAM_PREFIX.get(self.service, self.service)}:{self.operation}"

    @property
    def parameters(self) -> dict[str, Any]:
        """What a service that speaks JSON is asked."""
        return dict(json.loads(self.body or b"{}"))


@dataclass(frozen=True)
class Answer:
    """What is answered instead of moto: JSON, or anything else with its content type."""

    content: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class CutError(ConnectionError):
    """The connection ends here, without an answer: werkzeug answers any other error with 500."""


Reply = Callable[[Call], Answer | None]
Edit = Callable[[dict[str, Any]], dict[str, Any]]


def error(code: str, message: str = "as the test has it", status: int = 400) -> Answer:
    """Return an error of a service that speaks JSON."""
    return Answer({"__type": code, "message": message}, status)


def times(count: int, reply: Answer | type[CutError]) -> Reply:
    """Reply so to the first `count` calls, and leave the others to moto."""
    left = threading.Semaphore(count)

    def answer(_: Call) -> Answer | None:
        if not left.acquire(blocking=False):
            return None
        if isinstance(reply, Answer):
            return reply
        raise reply

    return answer


class Cloud:
    """An account on this machine; `replies` has what answers an action, such as sagemaker:StopTrainingJob."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replies: dict[str, Reply] = {}
        # A SageMaker endpoint's name, or <name>/<variant> → the URL of a server that answers.
        self.endpoints: dict[str, str] = {}
        self.edits: dict[str, Edit] = {}  # what changes moto's answer to one of SageMaker's actions
        self._policies: dict[str, bytes] = {}  # of buckets
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def start(self) -> str:
        """Serve an empty account; returns its address."""
        self._thread.start()
        address = f"http://127.0.0.1:{self._server.server_port}"
        httpx.post(f"{address}/moto-api/reset").raise_for_status()  # all servers of a process are one account
        return address

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()

    @property
    def actions(self) -> set[str]:
        """Every action that was asked for, as an IAM policy has it."""
        return {call.action for call in self.calls}

    def asked(self, action: str) -> list[dict[str, Any]]:
        """Return the parameters of each call of an action of a service that speaks JSON."""
        return [call.parameters for call in self.calls if call.action == action]

    def _answer(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        call = _read(environ)
        if call is None:
            return self._moto(environ, start)
        self.calls.append(call)
        reply = self.replies.get(call.action)
        answer = (reply(call) if reply else None) or self._policy(call) or self._invoked(call)
        if answer is not None:
            return _send(answer, start)
        if call.service == "sagemaker" or call.action == "tag:GetResources":
            return self._edited(call, environ, start)
        return self._moto(environ, start)

    def _policy(self, call: Call) -> Answer | None:
        """Keep buckets' policies: moto heeds no condition, and would take "not without TLS" for "never"."""
        if call.action == "s3:PutBucketPolicy":
            self._policies[call.path] = call.body
            return Answer(b"", 204)
        if call.action in {"s3:DeleteBucketPolicy", "s3:DeleteBucket"}:
            self._policies.pop(call.path, None)
        kept = self._policies.get(call.path) if call.action == "s3:GetBucketPolicy" else None
        return None if kept is None else Answer(kept)

    def _invoked(self, call: Call) -> Answer | None:
        """Pass InvokeEndpoint on to the server that stands for the endpoint, or for one of its variants."""
        if call.operation != "InvokeEndpoint":
            return None
        name = call.path.split("/")[2]
        variants = {
            key.removeprefix(f"{name}/"): url
            for key, url in self.endpoints.items()
            if key.startswith(f"{name}/")
        } or {"AllTraffic": self.endpoints.get(name, "")}
        variant = call.headers.get("x-amzn-sagemaker-target-variant") or random.choice([*variants])
        if not variants.get(variant):
            return Answer({"message": f"Variant {variant} not found"}, 400, _kind("ValidationError"))
        passed = (
            "content-type",
            "accept",
            *(name for name in call.headers if name.startswith("x-amzn-sage")),
        )
        headers = {name: call.headers[name] for name in passed if name in call.headers}
        answer = httpx.post(f"{variants[variant]}/invocations", content=call.body, headers=headers)
        if answer.is_success:
            named = {"x-Amzn-Invoked-Production-Variant": variant}
            return Answer(answer.content, headers=named | {"Content-Type": answer.headers["Content-Type"]})
        failed = {"OriginalStatusCode": answer.status_code, "OriginalMessage": answer.text}
        return Answer(failed, 424, _kind("ModelError"))

    def _edited(self, call: Call, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Let moto answer, and leave out the structures that it returns empty or as null."""
        kept: dict[str, Any] = {}

        def note(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            kept.update(status=status, headers=headers)

        body = b"".join(self._moto(environ, note))
        if kept["status"].startswith("200") and body.startswith(b"{"):
            whole = self.edits.get(call.action, lambda answer: answer)(json.loads(body))
            if call.action == "tag:GetResources":
                whole = _with_sagemaker(call.parameters, whole)
            body = json.dumps(
                {key: each for key, each in whole.items() if each not in ({}, None)}, default=_as_json
            ).encode()
        headers = [pair for pair in kept["headers"] if pair[0].lower() != "content-length"]
        start(kept["status"], [*headers, ("Content-Length", str(len(body)))])
        return [body]


@contextmanager
def account_on_this_machine() -> Iterator[Cloud]:
    """Start an empty account, and let this process and those that it starts find it."""
    account = Cloud()
    settings = {
        "AWS_ENDPOINT_URL": account.start(),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_REGION"):
            patch.delenv(name, raising=False)
        yield account
    account.stop()


def _with_sagemaker(asked: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Add what SageMaker has with the tags that are asked for."""
    wanted = {(each["Key"], value) for each in asked["TagFilters"] for value in each["Values"]}
    for region, backend in get_backend("sagemaker")[DEFAULT_ACCOUNT_ID].items():
        for kind, place in SAGEMAKER_TAGGED.items():
            for name, each in getattr(backend, place).items():
                tags = each.tags or []
                if wanted & {(tag["Key"], tag["Value"]) for tag in tags}:
                    arn = f"arn:aws:sagemaker:{region}:{DEFAULT_ACCOUNT_ID}:{kind}/{name}"
                    whole["ResourceTagMappingList"].append({"ResourceARN": arn, "Tags": tags})
    return whole


class _Quiet(MotoRequestHandler):
    """Does not log each request to the test's output, and closes a connection that is cut."""

    def connection_dropped(self, *_: Any) -> None:
        """Wait for no further request."""
        self.close_connection = True

    def log_request(self, *_: Any) -> None:
        """Say nothing."""


def _read(environ: Environ) -> Call | None:
    """Return what is asked; None for moto's own interface."""
    signed = re.search(
        r"Credential=[^/]+/\d+/[^/]*/([^/]+)/aws4_request", environ.get("HTTP_AUTHORIZATION", "")
    )
    if signed is None:
        return None
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    service, path = signed[1].lower(), environ["PATH_INFO"]
    names = {name: name.removeprefix("HTTP_").replace("_", "-").lower() for name in environ}
    headers = {
        named: str(environ[name])
        for name, named in names.items()
        if name.startswith("HTTP_") or name == "CONTENT_TYPE"
    }
    return Call(service, _operation(service, path, environ, body), path, body, headers)


def _operation(service: str, path: str, environ: Environ, body: bytes) -> str:
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    if smithy := re.search(r"/operation/(\w+)$", path):
        return smithy[1]
    if service == "sagemaker":  # of its services the runtime alone has paths
        return "InvokeEndpointAsync" if path.endswith("async-invocations") else "InvokeEndpoint"
    if service == "s3":
        operation = _s3_operation(path, environ["REQUEST_METHOD"], environ.get("QUERY_STRING", ""))
        return "DeleteObjectVersion" if operation == "DeleteObject" and b"<VersionId>" in body else operation
    return parse_qs(body.decode(errors="replace")).get("Action", ["?"])[0]


def _s3_operation(path: str, method: str, query: str) -> str:
    for name in parse_qs(query, keep_blank_values=True):
        if name in S3_BY_QUERY:
            return S3_BY_QUERY[name][method]
    is_object = path.strip("/").count("/") > 0
    return (S3_OBJECT if is_object else S3_BUCKET)[method]


def _kind(name: str) -> dict[str, str]:
    """The header by which services of the REST protocols name an error."""
    return {"x-amzn-errortype": name}


def _send(answer: Answer, start: StartResponse) -> Iterable[bytes]:
    body = answer.content
    if not isinstance(body, bytes):
        body = json.dumps(body, default=_as_json).encode()
    headers = {"Content-Type": JSON, "Content-Length": str(len(body))} | answer.headers
    start(f"{answer.status} Answered", list(headers.items()))
    return [body]


def _as_json(time: datetime) -> float:
    return time.timestamp()
