"""Ten thousand requests that wish the server ill: it answers or refuses each, and stays as it was."""

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from fuzzed import SCHEDULE, Fuzzed, request
from running_server import CODE, RunningServer
from tiny_artifact import write_explainable_artifact

pytestmark = pytest.mark.xdist_group("fuzzed")  # one run for all of these tests

REQUESTS, BLOCK = 10_000, 500  # memory is read after each block
CLIENTS = 8
# Of all of the server's processes together. What is free in a heap comes and goes, by 30 MB; the lowest of
# five readings hardly does. The first quarter is the warm-up; a leak of 5 kB a request would be found.
MOST_GROWTH_MB = 25
TIMEOUT = 60


@dataclass(frozen=True)
class Answered:
    """One answer; `head` is its status line and headers."""

    status: int
    head: bytes
    body: bytes


@dataclass(frozen=True)
class Run:
    """What the requests left behind."""

    wrong: list[str]
    statuses: Counter[int]
    unanswered: Counter[str]  # by kind
    workers: tuple[list[int], list[int]]
    megabytes: list[float]  # after each block
    good: tuple[Any, Any]
    log: list[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, jpeg: bytes) -> Run:
    """Ten thousand requests, sent once to a server of their own."""
    base = tmp_path_factory.mktemp("fuzzed")
    write_explainable_artifact(base / "model")
    with RunningServer(base, SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        server.wait_until_ready()
        workers, good = _workers(server), _good_answer(server, jpeg)
        checks, megabytes = [], []
        for first in range(0, REQUESTS, BLOCK):
            checks += _send_all(server, range(first, first + BLOCK))
            megabytes.append(server.megabytes())
        return Run(
            wrong=[each for wrong, _, _ in checks for each in wrong],
            statuses=Counter(answer.status for _, answers, _ in checks for answer in answers),
            unanswered=Counter(sent.kind for _, answers, sent in checks if not answers),
            workers=(workers, _workers(server)),
            megabytes=megabytes,
            good=(good, _good_answer(server, jpeg)),
            log=server.log.read_text(encoding="utf-8").splitlines(),
        )


def _workers(server: RunningServer) -> list[int]:
    return sorted(worker.pid for worker in server.workers())


def _good_answer(server: RunningServer, jpeg: bytes) -> Any:
    answer = server.ask(jpeg, Content_Type="image/jpeg", X_Amzn_SageMaker_Custom_Attributes="explain=true")
    assert answer.status == 200
    return answer.json()


def _send_all(server: RunningServer, numbers: range) -> Iterator[tuple[list[str], list[Answered], Fuzzed]]:
    def send(number: int) -> tuple[list[str], list[Answered], Fuzzed]:
        sent = request(number)
        answers = list(_answers(_exchange(server.port, sent), head_only=sent.wire.startswith(b"HEAD")))
        return list(_wrong(sent, answers)), answers, sent

    with ThreadPoolExecutor(CLIENTS) as clients:
        yield from clients.map(send, numbers)


def _exchange(port: int, sent: Fuzzed) -> bytes:
    """Everything that comes back until the server closes, or until it has cut the client off."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        try:
            connection.sendall(sent.wire)
            if not sent.framed:
                connection.shutdown(socket.SHUT_WR)  # else it would wait for what is promised
            while piece := connection.recv(65_536):
                received += piece
        except ConnectionError:
            pass  # whether that is right is for what has come to say
    return received


def _answers(received: bytes, *, head_only: bool) -> Iterator[Answered]:
    """The answers one after the other; what HTTP/0.9 gets has no head, and is none."""
    while received.startswith(b"HTTP/1."):
        head, _, rest = received.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        length = int(found[1]) if found and not head_only else 0
        status = int(head.split(None, 2)[1])
        if status != 100:  # Continue, asked for by `Expect`
            yield Answered(status, head, rest[:length])
        received = rest[length:]


def _wrong(sent: Fuzzed, answers: list[Answered]) -> Iterator[str]:
    """Whatever is not as docs/http.md says, with what makes the request again."""
    where = f"fuzzed.request({sent.number}), {sent.kind}, {sent.wire[:120]!r}:"
    if sent.framed and len(answers) != 1:
        yield f"{where} {len(answers)} answers"
    for answer in answers:
        if answer.status != 200 and not 400 <= answer.status < 500:
            yield f"{where} status {answer.status}"
        if b"Traceback" in answer.body or str(CODE).encode() in answer.body:
            yield f"{where} tells of the inside: {answer.body[:300]!r}"
        if sent.framed and not _is_well_formed(answer, head_only=sent.wire.startswith(b"HEAD")):
            yield f"{where} malformed: {answer.head!r} {answer.body[:300]!r}"


def _is_well_formed(answer: Answered, *, head_only: bool) -> bool:
    """JSON that any reader takes, where it says that it is JSON; an error always is."""
    if head_only or (
        answer.status == 200 and not re.search(rb"(?i)\ncontent-type: application/json\r", answer.head)
    ):
        return True
    try:
        content = json.loads(answer.body or b"{}", parse_constant=_refuse)
    except ValueError:
        return False
    return answer.status == 200 or set(content.get("error", ())) == {"code", "message"}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def test_every_request_is_answered_or_refused(run: Run) -> None:
    assert not run.wrong, "\n".join(run.wrong[:20])
    assert {200, 400, 404, 405, 406, 413, 415, 422} <= set(run.statuses)


def test_only_broken_framing_may_stay_without_an_answer(run: Run) -> None:
    allowed = {"headers_too_large", "odd_route", "odd_headers"}  # and these only where they are not framed
    allowed |= {"broken_chunks", "lying_length", "pipelined", "cut_off", "no_http"}
    assert set(run.unanswered) <= allowed


def test_no_worker_has_died(run: Run) -> None:
    before, after = run.workers
    assert before == after


def test_memory_has_not_grown(run: Run) -> None:
    quarter = len(run.megabytes) // 4
    second, last = min(run.megabytes[quarter : 2 * quarter]), min(run.megabytes[-quarter:])
    assert last < second + MOST_GROWTH_MB, run.megabytes


def test_a_good_picture_is_answered_as_before(run: Run) -> None:
    before, after = run.good
    assert before == after


def test_the_log_is_json_for_each_request_and_has_no_failure(run: Run) -> None:
    entries = [json.loads(line) for line in run.log if line.startswith("{")]
    assert len(entries) > 0.9 * REQUESTS
    assert not [entry for entry in entries if entry["status"] >= 500]
    assert not [line for line in run.log if "Traceback" in line]
    assert len(run.log) < 1.1 * len(entries)  # nor can a stranger flood it


def test_a_request_is_made_again_from_its_number() -> None:
    assert [request(number) for number in range(len(SCHEDULE))] == [
        request(number) for number in range(len(SCHEDULE))
    ]
    assert request(0, seed=1) != request(0, seed=2)
