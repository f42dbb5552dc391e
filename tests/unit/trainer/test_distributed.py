"""Processes that train together, for real: what they compute, and how the others end when one of them does.

Run as a program, this file is what the tests look at: every scenario below with its ranks, as processes.
"""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from trainer.distributed import ALONE, Group, process_group
from trainer.failures import DataError
from trainer.termination import Stop, Terminated

Work = Callable[[Group], Any]
BIG = 20 * 2**20


def compute(group: Group) -> Any:
    import torch

    total = torch.tensor([1.0, 10.0]) * (group.rank + 1)
    group.sum(total)
    whole = {}
    for count in (7, group.size, 1, 0):  # with 1 and 0 rows, some ranks hold none
        rows = torch.arange(count * 2).view(count, 2)
        whole[count] = group.gather_rows(rows[group.rank :: group.size]).tolist()
    logits = group.gather_rows(torch.full((1,), 0.5 + group.rank, dtype=torch.float64)).tolist()
    group.barrier()
    given = [group.exchange_bytes(f"from {group.rank}".encode(), source=rank) for rank in range(group.size)]
    big = group.exchange_bytes(b"\1" * BIG if group.rank == 1 else None, source=1)
    return {
        "sum": total.tolist(),
        "rows": whole,
        "logits": logits,
        "given": [piece.decode() for piece in given],
        "big": big.count(b"\1"),
        "empty": len(group.exchange_bytes(b"", source=0)),
        "main": group.is_main,
    }


def wrong_share(group: Group) -> Any:
    import torch

    group.gather_rows(torch.zeros(3 if group.rank == 1 else 1, 2))


def ends(how: Callable[[], object]) -> Work:
    """Rank 1 ends by `how` while the others wait for it in a sum."""

    def work(group: Group) -> Any:
        import torch

        group.sum(torch.zeros(1))
        if group.rank == 1:
            how()
        group.sum(torch.zeros(1))

    return work


def defect() -> None:
    raise ValueError("the root cause")


def mistake() -> None:
    raise DataError("no pictures here")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def all_stopped(group: Group) -> Any:
    """The platform stops all hosts, while rank 0 waits for rank 1, which does something long."""
    signal.signal(signal.SIGALRM, lambda *_: stopped())
    signal.setitimer(signal.ITIMER_REAL, 0.5 + group.rank)
    if group.rank == 1:
        time.sleep(30)
    group.barrier()


def train(group: Group, *, stop_rank: int = -1) -> Any:
    """Two epochs of a head on features with mixup; a rank may be asked to stop while it loads a batch."""
    import tempfile

    import torch

    from trainer.config import Hyperparameters
    from trainer.engine import fit
    from trainer.loading import FeatureBatches
    from trainer.machine import Machine
    from trainer.network import HeadOnly

    class Rows(FeatureBatches):
        def _rows(self, request: list[tuple[int, int]], samples: list[int]) -> torch.Tensor:
            self.loaded = getattr(self, "loaded", 0) + 1
            stop.requested |= group.rank == stop_rank and self.loaded == 5
            return rows[samples]

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows, targets = torch.randn(21, 5), [0, 1, 2] * 7
    head, stop = torch.nn.Linear(5, 3), Stop()
    settings = Hyperparameters(epochs=2, batch_size=8, learning_rate=0.1, mixup=0.4, dropout=0.2)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(
                HeadOnly(head),
                Rows({}, targets),
                Rows({}, targets),
                settings,
                Machine(torch.device("cpu"), torch.float32, group, stop),
                checkpoints=Path(folder),
                report=lambda *_: None,
            )
        except Terminated:
            return sorted(file.name[:13] for file in Path(folder).iterdir())
    return head.weight.tolist()


def train_until_stopped(group: Group) -> Any:
    return train(group, stop_rank=1)


SCENARIOS: dict[str, tuple[int, int, Work]] = {  # name: ranks, ranks a host, work
    "two": (2, 2, compute),
    "three": (3, 1, compute),
    "wrong share": (2, 1, wrong_share),
    "defect here": (2, 2, ends(defect)),
    "defect elsewhere": (3, 1, ends(defect)),
    "mistake elsewhere": (2, 1, ends(mistake)),
    "killed here": (2, 2, ends(killed)),
    "killed elsewhere": (2, 1, ends(killed)),
    "killed beside": (3, 2, ends(killed)),
    "stopped elsewhere": (2, 1, ends(stopped)),
    "waiting": (2, 1, all_stopped),
    "train alone": (1, 1, train),
    "train together": (2, 1, train),
    "train by three": (3, 1, train),
    "train until stopped": (2, 1, train_until_stopped),
}


def take_part(name: str, rank: int, port: int, folder: Path) -> None:
    """One rank's life; what came of it is in `folder`."""
    size, local_size, work = SCENARIOS[name]
    environment = {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank % local_size),
        "LOCAL_WORLD_SIZE": str(local_size),
        "GROUP_RANK": str(rank // local_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    os.environ["TORCHELASTIC_ERROR_FILE"] = str(folder / f"{name} {rank}.traceback")
    begun = time.monotonic()
    try:
        with (
            Stop().installed(),
            process_group(environment, device_type="cpu", timeout=timedelta(minutes=1)) as group,
        ):
            ending, text = "result", work(group)
    except BaseException as error:  # noqa: BLE001 - how it ended is the result
        ending, text = type(error).__name__, str(error)
    outcome = {"ending": ending, "text": text, "seconds": time.monotonic() - begun}
    (folder / f"{name} {rank}.json").write_text(json.dumps(outcome), encoding="utf-8")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(folder: Path) -> None:
    """All scenarios at once: they mostly wait."""
    import torch.distributed  # noqa: F401 - once, for all ranks

    fork = multiprocessing.get_context("fork")
    ranks = []
    for name, (size, _, _) in SCENARIOS.items():
        port = free_port()
        ranks += [fork.Process(target=take_part, args=(name, rank, port, folder)) for rank in range(size)]
    for process in ranks:
        process.start()
    while multiprocessing.active_children():  # which also lets the dead be seen to be dead, as torchrun does
        time.sleep(0.05)


class Outcomes:
    """What became of each scenario's ranks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, name: str, rank: int) -> dict[str, Any]:
        return json.loads((self.folder / f"{name} {rank}.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def traceback(self, name: str, rank: int) -> str:
        file = self.folder / f"{name} {rank}.traceback"
        return file.read_text(encoding="utf-8") if file.exists() else ""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    folder = tmp_path_factory.mktemp("ranks")
    subprocess.run([sys.executable, __file__, folder], check=True, timeout=300)
    return Outcomes(folder)


def test_alone_nothing_is_sent_and_torch_is_not_even_imported() -> None:
    program = (
        "import os, sys\nfrom trainer.distributed import *\nfrom trainer.distributed import process_group\n"
        "with process_group({}, device_type='cpu') as group:\n"
        "    group.barrier(); assert group is ALONE and group.is_main\n"
        "    assert group.exchange_bytes(b'own', source=0) == b'own'\n"
        "    assert group.gather_rows('rows') == 'rows' and group.sum('tensor') is None\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert Group() == ALONE


@pytest.mark.parametrize(("name", "size"), [("two", 2), ("three", 3)])
def test_every_rank_gets_the_sum_the_rows_in_order_and_what_each_rank_gives(
    outcomes: Outcomes, name: str, size: int
) -> None:
    for rank in range(size):
        outcome = outcomes.of(name, rank)
        assert outcome["ending"] == "result", outcome
        result = outcome["text"]
        assert result["sum"] == [size * (size + 1) / 2, 10 * size * (size + 1) / 2]
        assert result["rows"] == {
            str(count): [[2 * row, 2 * row + 1] for row in range(count)] for count in (7, size, 1, 0)
        }
        assert result["logits"] == [0.5 + each for each in range(size)]
        assert result["given"] == [f"from {each}" for each in range(size)]
        assert (result["big"], result["empty"]) == (BIG, 0)
        assert result["main"] == (rank == 0)


def test_rows_that_are_not_a_ranks_share_are_refused_instead_of_mixed_up(outcomes: Outcomes) -> None:
    outcome = outcomes.of("wrong share", 1)

    assert outcome["ending"] == "ValueError"
    assert outcome["text"] == "rank 1 of 2 holds 3 of 4 rows, not 2"


@pytest.mark.parametrize("rank", [0, 2])
def test_the_other_hosts_say_which_rank_failed_where_and_why(outcomes: Outcomes, rank: int) -> None:
    outcome = outcomes.of("defect elsewhere", rank)

    assert outcome["ending"] == "GroupError"
    assert outcome["text"] == f"rank 1 on host {socket.gethostname()} failed: ValueError: the root cause"
    assert outcome["seconds"] < 10


def test_a_persons_mistake_on_one_host_is_the_same_sentence_on_the_others(outcomes: Outcomes) -> None:
    assert outcomes.of("mistake elsewhere", 0)["text"].endswith(" failed: no pictures here")
    assert outcomes.of("mistake elsewhere", 1)["text"] == "no pictures here"


def test_torchrun_gets_the_traceback_of_a_defect_and_of_nothing_else(outcomes: Outcomes) -> None:
    assert "in defect" in outcomes.traceback("defect elsewhere", 1)
    assert "ValueError: the root cause" in outcomes.traceback("defect elsewhere", 1)
    assert not outcomes.traceback("defect elsewhere", 0)
    assert not outcomes.traceback("mistake elsewhere", 1)
    assert not outcomes.traceback("stopped elsewhere", 1)


@pytest.mark.parametrize("name", ["defect here", "killed here"])
def test_on_the_same_host_the_others_end_silently_because_torchrun_reports(
    outcomes: Outcomes, name: str
) -> None:
    assert outcomes.of(name, 0)["ending"] == "Terminated"
    assert outcomes.of(name, 0)["seconds"] < 10


def test_a_process_that_was_killed_is_told_from_one_that_was_stopped(outcomes: Outcomes) -> None:
    outcome = outcomes.of("killed elsewhere", 0)

    assert outcome["ending"] == "GroupError"
    assert "ended without a word" in outcome["text"]
    assert outcome["seconds"] < 15


def test_a_killed_process_is_named_to_the_other_hosts_by_those_beside_it(outcomes: Outcomes) -> None:
    assert outcomes.of("killed beside", 0)["ending"] == "Terminated"
    assert outcomes.of("killed beside", 2)["ending"] == "GroupError"
    assert outcomes.of("killed beside", 2)["text"].startswith("rank 1 on host ")


def test_a_stop_of_one_host_is_a_stop_of_all_and_no_failure(outcomes: Outcomes) -> None:
    assert [outcomes.of("stopped elsewhere", rank)["ending"] for rank in (0, 1)] == ["Terminated"] * 2


def test_a_stop_of_all_hosts_also_ends_a_rank_that_waits_for_one_that_does_not_come(
    outcomes: Outcomes,
) -> None:
    for rank in (0, 1):
        assert outcomes.of("waiting", rank)["ending"] == "Terminated"
        assert outcomes.of("waiting", rank)["seconds"] < 15


@pytest.mark.parametrize(("name", "size"), [("train together", 2), ("train by three", 3)])
def test_several_processes_train_what_one_does_with_mixup_too(
    outcomes: Outcomes, name: str, size: int
) -> None:
    alone = outcomes.of("train alone", 0)
    assert alone["ending"] == "result", alone
    for rank in range(size):
        together = outcomes.of(name, rank)
        assert together["ending"] == "result", together
        for row, expected in zip(together["text"], alone["text"], strict=True):
            assert row == pytest.approx(expected, abs=1e-5)


def test_all_give_up_the_step_in_which_one_is_asked_to_stop(outcomes: Outcomes) -> None:
    """The first process, which writes, was not asked itself: an epoch, a step, and one that is given up."""
    saved = [outcomes.of("train until stopped", rank)["text"] for rank in (0, 1)]

    assert saved == [["step-00000003", "step-00000004"], []]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
