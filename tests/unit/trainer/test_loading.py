"""Which pictures make which batch: a function of seed and epoch, whoever asks and from wherever."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data import RobustImageFolder
from trainer.features import FeatureTable
from trainer.loading import FeatureBatches, ImageBatches, Plan, in_order, normalise, worker_count
from trainer.views import Preprocessing, Views

VIEWS = Views(Preprocessing(40, 32), 0.5)


def plan(**changes: int) -> Plan:
    return Plan(**{"samples": 23, "batch_size": 5, "seed": 1, **changes})


@pytest.fixture
def folder(pictures: Path) -> RobustImageFolder:
    return RobustImageFolder(pictures / "train")


def test_an_epoch_has_every_sample_once_and_the_next_another_order() -> None:
    first, second = ([pair for batch in plan().epoch(epoch) for pair in batch] for epoch in (1, 2))

    assert sorted(first) == sorted(second) == [(sample, 0) for sample in range(23)]
    assert first != second
    assert (
        [len(batch) for batch in plan().epoch(1)]
        == [5, 5, 5, 5, 3]
        == [plan().size(step) for step in range(5)]
    )


def test_the_same_seed_gives_the_same_batches_and_another_seed_others() -> None:
    assert list(plan().epoch(3)) == list(plan().epoch(3))
    assert list(plan().epoch(3)) != list(plan(seed=2).epoch(3))


def test_an_epoch_can_be_entered_at_any_step() -> None:
    whole = list(plan(views=3).epoch(2))

    assert all(list(plan(views=3).epoch(2, first_step=step)) == whole[step:] for step in range(6))


@given(samples=st.integers(1, 40), batch_size=st.integers(1, 12), ranks=st.integers(1, 5))
def test_the_ranks_together_have_the_batches_of_one(samples: int, batch_size: int, ranks: int) -> None:
    alone = Plan(samples, batch_size, seed=7, views=2)
    parts = [
        list(Plan(samples, batch_size, seed=7, views=2, rank=rank, ranks=ranks).epoch(1))
        for rank in range(ranks)
    ]

    for step, batch in enumerate(alone.epoch(1)):
        assert sorted(pair for part in parts for pair in part[step]) == sorted(batch)
        assert len(batch) == alone.size(step)


@given(samples=st.integers(0, 30), ranks=st.integers(1, 5))
def test_no_sample_is_evaluated_twice_by_several_ranks(samples: int, ranks: int) -> None:
    seen = [
        pair
        for rank in range(ranks)
        for batch in in_order(samples, batch_size=4, rank=rank, ranks=ranks)
        for pair in batch
    ]

    assert sorted(seen) == [(sample, 0) for sample in range(samples)]


def test_epochs_draw_from_the_views_or_make_a_new_one_each_time() -> None:
    drawn = {view for epoch in range(1, 9) for batch in plan(views=3).epoch(epoch) for _, view in batch}
    fresh = [{view for batch in plan(views=0).epoch(epoch) for _, view in batch} for epoch in (1, 2, 9)]

    assert drawn == {0, 1, 2}
    assert fresh == [{1}, {2}, {9}]


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_come_as_requested_in_every_number_of_processes(
    folder: RobustImageFolder, workers: int
) -> None:
    batches = ImageBatches(folder, VIEWS, workers=workers, batch_size=4)
    requests = [[(3, 0), (20, 2), (3, 1)], [], [(5, 0)]]

    for _ in range(2):  # the processes of the first pass serve the second
        loaded = list(batches.load(requests))
        assert [tuple(pixels.shape) for pixels, _ in loaded] == [
            (3, 32, 32, 3),
            (0, 32, 32, 3),
            (1, 32, 32, 3),
        ]
        assert [targets.tolist() for _, targets in loaded] == [
            [folder.targets[sample] for sample, _ in request] for request in requests
        ]
        for (pixels, _), request in zip(loaded, requests, strict=True):
            for found, (sample, number) in zip(pixels, request, strict=True):
                expected = VIEWS.pixels(folder.read(sample), digest=folder.digests[sample], number=number)
                assert np.array_equal(found.numpy(), expected)


def test_loader_processes_outlive_a_stop_of_the_process_group_but_not_their_parents_own(
    folder: RobustImageFolder,
) -> None:
    batches = ImageBatches(folder, VIEWS, workers=2, batch_size=4)
    requests = [[(sample, 0)] for sample in range(20)]
    others = set(psutil.Process().children())  # of earlier tests of this process
    loaded = batches.load(requests)
    next(loaded)  # of one of them: the other may not have begun
    workers = sorted(set(psutil.Process().children()) - others, key=lambda worker: worker.pid)

    subprocess.run(["kill", *(str(worker.pid) for worker in workers)], check=True)

    assert len(list(loaded)) == 19
    assert len(workers) == 2
    for worker in workers:
        worker.terminate()  # as multiprocessing does when the parent exits
    assert psutil.wait_procs(workers, timeout=5)[1] == []


def test_cached_features_come_as_requested_from_every_view(tmp_path: Path) -> None:
    digests = [bytes([number]) * 32 for number in range(6)]
    views = {}
    for number in (0, 1):
        table = FeatureTable(tmp_path, backbone="net", width=2, identity={"view": number})
        with table.computing():
            table.add([(digests, np.array([[sample, number] for sample in range(6)], np.float32))])
        views[number] = table.features(digests)
    batches = FeatureBatches(views, targets=[0, 1, 2, 0, 1, 2])

    (rows, targets), (none, _) = batches.load([[(4, 1), (0, 0), (4, 0)], []])

    assert rows.tolist() == [[4, 1], [0, 0], [4, 0]]
    assert targets.tolist() == [1, 0, 1]
    assert none.shape == (0, 2)


def test_normalised_pictures_are_channels_last() -> None:
    images = normalise(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))

    assert images.shape == (2, 3, 8, 8)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_small_shared_memory_means_fewer_processes_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert worker_count(3, batch_bytes=1) == 3
    assert worker_count(3, batch_bytes=10**15) == 0
    assert "using 0 loader processes instead of 3: /dev/shm is too small" in capsys.readouterr().err


def test_the_processes_of_one_machine_share_its_loader_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")

    assert worker_count(-1, batch_bytes=1) == 1
    assert worker_count(3, batch_bytes=1) == 3  # what is asked for is done


def test_an_unreadable_request_names_the_file(folder: RobustImageFolder) -> None:
    from trainer.failures import DataError

    def request(samples: Sequence[int]) -> list[list[tuple[int, int]]]:
        return [[(sample, 0) for sample in samples]]

    (folder.root.parent / folder.files[2]).write_bytes(b"")
    batches = ImageBatches(folder, VIEWS, workers=0, batch_size=4)

    with pytest.raises(DataError, match="could be read when the job started"):
        list(batches.load(request([1, 2])))
