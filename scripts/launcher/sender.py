"""Sending files to S3, large ones in parts: what ends early is aborted, or said to be left.

Called by `s3_upload` and `model_source`. boto3 sends a part again whose connection broke, and aborts an
upload that it gives up; where it cannot do that either, what was sent costs and is shown nowhere.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

from launcher import aws

PARTS_FROM = TransferConfig().multipart_threshold  # bytes
_ENDINGS = ("CompleteMultipartUpload", "AbortMultipartUpload")


class Sender:
    """Sends files with one client, which threads may share."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._begun: dict[str, str] = {}  # each upload's ID → its key, until it has ended
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
        """Send a file whole; raises as AWS refuses, with a note of what is left there in parts."""
        try:
            with aws.explained():
                self._client.upload_file(str(file), bucket, key, ExtraArgs=dict(extra), Callback=on_bytes)
        except BaseException as ending:
            for upload in [upload for upload, of in self._begun.copy().items() if of == key]:
                ending.add_note(
                    f"parts of s3://{bucket}/{key} are left there, and cost: the bucket of setup_account.py "
                    f"removes them after a week, `aws s3api abort-multipart-upload --bucket {bucket} "
                    f"--key {key} --upload-id {upload}` at once"
                )
            raise

    def _begin(self, parsed: Mapping[str, Any], **_: Any) -> None:
        if "UploadId" in parsed:
            self._begun[parsed["UploadId"]] = parsed["Key"]

    def _note(self, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["upload"] = params["UploadId"]  # its answer does not name it

    def _end(self, http_response: Any, context: Mapping[str, Any], **_: Any) -> None:
        if http_response.status_code < 300:
            self._begun.pop(context["upload"], None)
