"""The predictions of a batch transform job, joined with the names of the pictures, in one file.

Called by `batch_transform.py`. A job answers each picture in a file of its own, `<name>.out`, in the media
type that it was asked for; `answers` does on this machine what the platform does there.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from launcher.endpoint import EndpointClient
from launcher.requests import Request
from launcher.transform_requests import PICTURE

FORMATS = {"csv": "text/csv", "jsonl": "application/jsonlines"}
BATCH = {"SAGEMAKER_BATCH": "true"}  # what the platform tells the container

Named = tuple[str, bytes]  # a picture's name, and its answer


def answers(client: EndpointClient, request: Request, files: Mapping[str, Path]) -> Iterator[Named]:
    """Ask an endpoint of this machine about files, as a CreateTransformJob request says, in their order.

    Raises endpoint.NoAnswer.
    """
    accept = request["TransformOutput"]["Accept"]

    def answer(name: str) -> Named:
        return name, client.ask(files[name].read_bytes(), PICTURE, accept).body

    return client.several(answer, files, request["MaxConcurrentTransforms"])


def write(folder: Path, predictions: bytes, form: str) -> Path:
    """Keep the predictions in a folder of this machine, whole or not at all; returns the file."""
    file = folder / f"predictions.{form}"
    partial = file.with_name(f".{file.name}.part")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_bytes(predictions)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def joined(named: Iterable[Named], form: str) -> bytes:
    """Return the predictions of all pictures as one file of the form."""
    return _as_csv(named) if form == "csv" else _as_lines(named)


def _as_lines(named: Iterable[Named]) -> bytes:
    return b"".join(
        json.dumps({"file": name, **json.loads(answer)}, ensure_ascii=False).encode() + b"\n"
        for name, answer in named
    )


def _as_csv(named: Iterable[Named]) -> bytes:
    """An endpoint's line begins with an empty field, or is an error's code and message (docs/http.md)."""
    rows = []
    for name, answer in named:
        first, *rest = next(csv.reader([answer.decode()]))
        rows.append([name, f"{first}: {rest[0]}"] if first else [name, "", *rest])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = range(1, (max(map(len, rows), default=2) - 2) // 2 + 1)
    writer.writerow(
        ["file", "error", *(f"{what}_{rank}" for rank in ranks for what in ("breed", "probability"))]
    )
    writer.writerows(rows)
    return text.getvalue().encode()


def refused(predictions: bytes, form: str) -> int:
    """Count the pictures that have an error instead of a prediction."""
    text = predictions.decode()
    if form == "csv":
        return sum(bool(row["error"]) for row in csv.DictReader(io.StringIO(text)))
    return sum("error" in json.loads(line) for line in text.splitlines())
