"""What an endpoint with data capture has answered, read from S3. Called by monitor.py.

SageMaker writes `<prefix>/<endpoint>/<variant>/yyyy/mm/dd/hh/….jsonl`, a line a request.
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from launcher.errors import WorkFailed
from launcher.s3 import THREADS, Prefix

_HOUR = re.compile(r"(\d{4}/\d{2}/\d{2}/\d{2})/[^/]+\.jsonl$")


def predicted(prefix: Prefix, *, since: datetime) -> Counter[str]:
    """Count the first breed of each answer that was captured since a time.

    Answers that are no JSON, and pictures that got an error, are left out. Raises WorkFailed for a file
    that is damaged.
    """
    names = [name for name in prefix.files() if (hour := _hour(name)) and hour > since - timedelta(hours=1)]
    with ThreadPoolExecutor(THREADS) as pool:
        counts: Counter[str] = Counter()
        for name, content in zip(names, pool.map(prefix.read, names), strict=True):
            try:
                counts.update(_breeds(content or b"", since))
            except (ValueError, KeyError, TypeError) as error:
                raise WorkFailed(f"{prefix.uri}/{name} is not what SageMaker captures: {error}") from None
    return counts


def _hour(name: str) -> datetime | None:
    found = _HOUR.search(name)
    return datetime.strptime(found[1], "%Y/%m/%d/%H").replace(tzinfo=UTC) if found else None


def _breeds(content: bytes, since: datetime) -> Iterator[str]:
    for line in content.splitlines():
        record = json.loads(line)
        when = datetime.fromisoformat(record["eventMetadata"]["inferenceTime"])
        output = record["captureData"].get("endpointOutput")
        if output and when >= since and "json" in output["observedContentType"]:
            yield from _first(output)


def _first(output: dict[str, Any]) -> Iterator[str]:
    data = output["data"]
    text = base64.b64decode(data) if output["encoding"] == "BASE64" else data
    for prediction in json.loads(text).get("predictions", []):
        if top := prediction.get("top"):
            yield str(top[0]["name"])
