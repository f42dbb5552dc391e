"""A head begins with the rows of the pretrained classifier that its training pictures look like."""

import pytest
import torch
from torch import Tensor, nn

from trainer.distributed import ALONE
from trainer.head_start import mixture, start_head
from trainer.loading import FeatureBatches
from trainer.machine import Machine
from trainer.network import HeadOnly
from trainer.termination import Stop, Terminated

KNOWN, WIDTH = 1000, 6
MACHINE = Machine(torch.device("cpu"), torch.float32, ALONE, Stop())


class Rows(FeatureBatches):
    """Features in memory."""

    def __init__(self, rows: Tensor, targets: list[int]) -> None:
        super().__init__({}, targets)
        self.features = rows

    def _rows(self, request: list[tuple[int, int]], samples: list[int]) -> Tensor:
        return self.features[samples]


def pretrained() -> tuple[Tensor, Tensor]:
    """A classifier in which class k is feature k for the first `WIDTH`; the others are never seen."""
    weight = torch.zeros(KNOWN, WIDTH)
    weight[:WIDTH] = 20 * torch.eye(WIDTH)
    return weight, torch.linspace(0, 1, KNOWN)


def started(rows: Tensor, targets: list[int], machine: Machine = MACHINE) -> nn.Linear:
    head = nn.Linear(WIDTH, max(targets) + 1)
    start_head(HeadOnly(head), Rows(rows, targets), pretrained(), machine, batch_size=4)
    return head


def test_a_class_that_is_a_known_one_takes_its_row() -> None:
    eye = torch.eye(WIDTH)

    head = started(torch.stack([eye[3], eye[1], eye[3], eye[1], eye[1]]), [0, 1, 0, 1, 1])

    weight, bias = pretrained()
    assert torch.equal(head.weight, weight[[3, 1]])
    assert torch.equal(head.bias, bias[[3, 1]])


def test_two_classes_that_look_like_the_same_known_one_do_not_begin_alike() -> None:
    eye = torch.eye(WIDTH)

    head = started(torch.stack([eye[3], eye[3], eye[3], eye[3], eye[2]]), [0, 0, 1, 1, 1])

    assert not torch.allclose(head.weight[0], head.weight[1])
    torch.testing.assert_close(
        head.weight[1][:4], torch.tensor([0.0, 0, 20 / 3, 40 / 3]), rtol=0.01, atol=0.01
    )


def test_an_unknown_class_is_a_mixture_of_what_it_resembles() -> None:
    unknown = [0.19, 0.17, 0.16, 0.16, 0.16, 0.16]
    resemblance = torch.tensor([[0.3, 0.3, 0.4, 0, 0, 0], [0.05, 0.05, 0, 0, 0, 0.9], unknown])

    assert mixture(resemblance).tolist() == [
        pytest.approx([0, 0, 1, 0, 0, 0]),
        pytest.approx([0, 0, 0, 0, 0, 1]),
        pytest.approx(unknown),
    ]


def test_a_stop_is_heard_while_looking_at_the_pictures() -> None:
    stop = Stop()
    stop.requested = True

    with pytest.raises(Terminated):
        started(
            torch.eye(WIDTH), list(range(WIDTH)), Machine(torch.device("cpu"), torch.float32, ALONE, stop)
        )


class SmallMemory(HeadOnly):
    """A network that holds one picture at a time."""

    def extract(self, features: Tensor) -> Tensor:
        if len(features) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return features


def test_pictures_that_do_not_fit_into_memory_together_are_looked_at_in_pieces() -> None:
    rows, targets = torch.rand(9, WIDTH), [0, 1, 2] * 3
    head = nn.Linear(WIDTH, 3)

    start_head(SmallMemory(head), Rows(rows, targets), pretrained(), MACHINE, batch_size=4)

    torch.testing.assert_close(head.weight, started(rows, targets).weight)
