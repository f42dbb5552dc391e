"""The demo: train, deploy, ask about pictures that were not trained on, and show what came out.

Called by `demo.py`. Everything shown is measured in this run or read from the artifact that it made.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from launcher import command_line, endpoint_requests, evaluation, jobs, plain_text
from launcher.backends import Backend
from launcher.endpoint import EndpointClient
from launcher.errors import WorkFailed
from launcher.evaluation import Accuracy
from launcher.jobs import FinishedJob
from launcher.plain_text import cell
from launcher.predictions import Prediction, add_ranking
from launcher.requests import Request
from launcher.workloads import OnLine

DRAWN_MARK = "DRAWN.txt"  # lies in a data folder that `prepare_data.py --draw` made
TOLERANCE = 0.01  # in accuracy, between the job's own figure and the endpoint's


class Stages:
    """How long each stage took, in seconds, in order."""

    def __init__(self, before: Sequence[tuple[str, float]] = ()) -> None:
        self.seconds = dict(before)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Measure the context as one stage."""
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def run(
    backend: Backend,
    training: Request,
    *,
    data: Path,
    runs: Path,
    serve_image: str,
    examples: int,
    seed: int,
    clients: int,
    stages: Stages,
    on_line: OnLine,
) -> None:
    """Do all of it and print it; raises WorkFailed when a stage fails or two figures disagree.

    `on_line` gets the training job's log; the endpoint's, a line for each picture, goes to the job's folder.
    """
    console = Console()

    def tell(text: str) -> None:
        console.print(plain_text.lines(text), soft_wrap=True, markup=False, emoji=False)

    classes = evaluation.split_files(data / "test")
    with stages.time("train"):
        job = backend.train(training, runs, on_line)
    jobs.point_latest(job)
    with ExitStack() as stack:
        log = stack.enter_context((job.folder / "endpoint.log").open("w", encoding="utf-8", buffering=1))
        with stages.time("deploy"):
            requests = endpoint_requests.on_this_machine(serve_image, job.archive)
            endpoint = stack.enter_context(
                backend.deploy(*requests, port=0, on_line=lambda line: print(line, file=log))
            )
            client = stack.enter_context(EndpointClient.connect(endpoint.url))
        with stages.time(f"ask about {len(classes)} pictures"):
            answers = ask(client, list(classes), clients)
    artifact = json.loads((job.folder / "model/artifact.json").read_text(encoding="utf-8"))
    readable = {file: name for file, name in classes.items() if not answers[file].error}
    chosen = {file: classes[file] for file in evaluation.choose(readable, examples, seed)}
    console.print(example_table(chosen, answers, artifact))
    tell(origin(backend.name, data, artifact))
    measured = evaluation.accuracy(answers, classes)
    own = served_accuracy(job, artifact)
    tell(accuracy_lines(measured, job, own))
    console.print(stage_table(stages))
    check(measured, own)


def ask(client: EndpointClient, files: Sequence[Path], clients: int) -> dict[Path, Prediction]:
    """Ask the endpoint about every file, several at a time, with progress on a terminal."""
    replies = command_line.progress(
        client.predict_all(files, clients), total=len(files), what="asking the endpoint"
    )
    return {file: reply[0] for file, reply in zip(files, replies, strict=True)}


def example_table(
    chosen: Mapping[Path, str], answers: Mapping[Path, Prediction], artifact: dict[str, Any]
) -> Table:
    """Return the five most probable breeds of some pictures, beside what they are."""
    labels = {entry["name"]: entry["label"] for entry in artifact["classes"]}
    table = Table("picture", "truth", "endpoint's answer", "probability", title="Pictures of the test split")
    table.columns[3].justify = "right"
    for file, truth in chosen.items():
        answer = answers[file]
        mark = "✓" if answer.top[0].name == truth else "✗"
        table.add_section()
        add_ranking(table, [file.name, f"{labels.get(truth, truth)} {mark}"], answer, top_k=5)
    return table


def origin(backend: str, data: Path, artifact: dict[str, Any]) -> str:
    """Say where it ran, on which data, and where the network's weights came from."""
    kind = "DRAWINGS made by this program, not photographs" if (data / DRAWN_MARK).exists() else "pictures"
    backbones = ", ".join(f"{entry['name']} (weights: {entry['weights']})" for entry in artifact["backbones"])
    return (
        f"backend   {backend}\n"
        f"data      {data}: {kind}, {len(artifact['classes'])} classes\n"
        f"backbone  {backbones}"
    )


def served_accuracy(job: FinishedJob, artifact: dict[str, Any]) -> float | None:
    """Return what the job measured on its test split with what is served, its int8 network or its f32 one."""
    precision: dict[str, Any] = artifact.get("precision", {})
    return precision.get("test_accuracy", job.metrics.get("test:accuracy"))


def accuracy_lines(measured: Accuracy, job: FinishedJob, own: float | None) -> str:
    """Say how many answers were right, what could not be read, and what the job had measured of the same."""
    lines = [f"accuracy  {measured.share:.2%}: {measured.right} of {measured.answered} test pictures"]
    if own is not None:
        lines.append(f"          the training job measured {own:.2%}, {abs(own - measured.share):.2%} apart")
    if measured.unreadable:
        lines.append(f"          {len(measured.unreadable)} unreadable files left out:")
        lines += [f"            {each.file}: {each.error}" for each in measured.unreadable]
    lines.append(f"model     {job.archive}")
    return "\n".join(lines)


def stage_table(stages: Stages) -> Table:
    """Return the time of each stage and their sum."""
    table = Table("stage", "seconds", show_footer=True)
    table.columns[0].footer, table.columns[1].footer = "all", f"{sum(stages.seconds.values()):.1f}"
    table.columns[1].justify = "right"
    for name, seconds in stages.seconds.items():
        table.add_row(cell(name), f"{seconds:.1f}")
    return table


def check(measured: Accuracy, own: float | None) -> None:
    """Raise WorkFailed when the endpoint answers otherwise than the model that was trained."""
    if not measured.answered:
        raise WorkFailed("the endpoint could read none of the test pictures")
    if own is None:
        raise WorkFailed("the training job's log has no test:accuracy to compare with")
    # One picture is allowed in any case: in a small split it is more than the tolerance.
    if abs(own - measured.share) > max(TOLERANCE, 1.01 / measured.answered):
        raise WorkFailed("the endpoint's accuracy is not that of the training job: it serves something else")
