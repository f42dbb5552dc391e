"""Requests to an endpoint as SageMaker's data capture keeps them.

Shared by test_monitoring.py and test_whole_life.py.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import boto3


def line(breed: str, *, when: datetime, encoded: bool = False, output: Any = None) -> str:
    """One request, and the answer: `breed`, or what `output` has instead."""
    answer = output or {"predictions": [{"top": [{"name": breed, "label": breed, "probability": 0.9}]}]}
    text = json.dumps(answer)
    data = base64.b64encode(text.encode()).decode() if encoded else text
    captured = {
        "endpointInput": {
            "observedContentType": "image/jpeg",
            "mode": "INPUT",
            "data": "…",
            "encoding": "BASE64",
        },
        "endpointOutput": {
            "observedContentType": "application/json",
            "mode": "OUTPUT",
            "data": data,
            "encoding": "BASE64" if encoded else "JSON",
        },
    }
    moment = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(
        {
            "captureData": captured,
            "eventMetadata": {"eventId": "1", "inferenceTime": moment},
            "eventVersion": "0",
        }
    )


def put(bucket: str, lines: Sequence[str], *, when: datetime) -> None:
    """Share lines among two variants of the project's endpoint, each with a file of that hour."""
    for variant, part in {"old": lines[::2], "new": lines[1::2]}.items():
        key = f"captured/dog-breeds/dog-breeds/{variant}/{when:%Y/%m/%d/%H}/1.jsonl"
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body="\n".join(part).encode())
