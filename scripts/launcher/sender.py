"""Sending files to S3, large ones in parts: what ends early is aborted, or said to be left.

Called by `s3_upload` and `model_source`, by threads of `workers`. boto3 sends a part again whose connection
broke, and aborts an upload that it gives up; where it cannot do that either, or has no time to, what was sent
costs and is shown nowhere.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

from launcher import aws, workers
from launcher.errors import SettingsError, WorkFailed

# One part after another: at its end a program would wait for boto3's own threads, though a network hangs.
_ONE_BY_ONE = TransferConfig(use_threads=False)
PARTS_FROM = _ONE_BY_ONE.multipart_threshold  # bytes
_ENDINGS = ("CompleteMultipartUpload", "AbortMultipartUpload")


class Sender:
    """Sends files with one client, which threads may share."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._begun: dict[str, tuple[str, str]] = {}  # each upload's ID → bucket and key, until it has ended
        events = client.meta.events
        events.register("after-call.s3.CreateMultipartUpload", self._begin)
        for operation in _ENDINGS:
            events.register(f"before-parameter-build.s3.{operation}", self._note)
            events.register(f"after-call.s3.{operation}", self._end)

    def send(
        self,
        file: Path,
        bucket: str,
        key: str,
        extra: Mapping[str, str],
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Send a file whole; raises as AWS refuses."""
        with aws.explained():
            self._client.upload_file(
                str(file), bucket, key, ExtraArgs=dict(extra), Callback=on_bytes, Config=_ONE_BY_ONE
            )

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Abort what was begun, whatever ends the sending early, and say what is left all the same."""
        try:
            yield
        except BaseException as ending:
            with suppress(SettingsError, WorkFailed):  # it is said to be left
                begun = [*self._begun.items()]
                workers.briefly(lambda: [*workers.done(self._abort, begun, len(begun))])
            for upload, (bucket, key) in self._begun.copy().items():
                ending.add_note(
                    f"parts of s3://{bucket}/{key} are left there, and cost: the bucket of setup_account.py "
                    f"removes them after a week, `aws s3api abort-multipart-upload --bucket {bucket} "
                    f"--key {key} --upload-id {upload}` at once"
                )
            raise

    def _abort(self, begun: tuple[str, tuple[str, str]]) -> None:
        upload, (bucket, key) = begun
        with aws.explained():
            self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    def _begin(self, parsed: Mapping[str, Any], **_: Any) -> None:
        if "UploadId" in parsed:
            self._begun[parsed["UploadId"]] = parsed["Bucket"], parsed["Key"]

    def _note(self, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["upload"] = params["UploadId"]  # its answer does not name it

    def _end(self, http_response: Any, context: Mapping[str, Any], **_: Any) -> None:
        if http_response.status_code < 300:
            self._begun.pop(context["upload"], None)
