"""A head that begins with what the pretrained classifier knows, instead of with nothing.

A new class often is, or resembles, one of the thousand that the backbone was trained to tell apart. Which
one is learned from the training pictures alone. Called by `trainer.members` when a training begins.
"""

import torch
from torch import Tensor, nn

from trainer.loading import Source, in_order
from trainer.machine import Machine
from trainer.network import Network
from trainer.pieces import in_pieces

# Mean probability. ImageNet's own classes have 0.3 to 0.9, or 0.2 to 0.8 where pictures are larger than what
# the backbone was trained on; of other classes three in four have less than 0.02.
_CLEAR = 0.2

PretrainedHead = tuple[Tensor, Tensor]  # weight (1000, features), bias (1000)


def start_head(
    model: Network, training: Source, pretrained: PretrainedHead, machine: Machine, *, batch_size: int
) -> None:
    """Give each class of `model.head` what the pretrained classifier sees in its training pictures."""
    weight, bias = (tensor.to(machine.device, torch.float32) for tensor in pretrained)
    shares = mixture(_resemblance(model, training, (weight, bias), machine, batch_size=batch_size))
    with torch.no_grad():
        model.head.weight.copy_(shares @ weight)
        model.head.bias.copy_(shares @ bias)


def mixture(resemblance: Tensor) -> Tensor:
    """Shares (classes, 1000) of the pretrained rows in each class's own, from mean probabilities alike.

    A class that one pretrained class clearly stands for, and for no other class, takes its row. Any other
    takes all rows, each by its probability.
    """
    surest, rows = resemblance.max(dim=1)
    takers = torch.bincount(rows, minlength=resemblance.shape[1])
    clear = (surest >= _CLEAR) & (takers[rows] == 1)
    single = nn.functional.one_hot(rows, resemblance.shape[1]).to(resemblance.dtype)
    return torch.where(clear[:, None], single, resemblance)


@torch.inference_mode()
def _resemblance(
    model: Network, training: Source, pretrained: PretrainedHead, machine: Machine, *, batch_size: int
) -> Tensor:
    """Mean probability (classes, 1000) that the pretrained classifier gives the pictures of each class."""
    weight, bias = pretrained
    sums = torch.zeros(model.head.out_features, len(bias), device=machine.device)
    group = machine.group

    def resemblance(inputs: Tensor) -> Tensor:
        with machine.autocast():
            features = model.extract(inputs)
        return torch.softmax(nn.functional.linear(features.float(), weight, bias), dim=1)

    for inputs, targets in training.load(
        in_order(len(training), batch_size=batch_size, rank=group.rank, ranks=group.size)
    ):
        pieces = list(in_pieces(resemblance, training.prepare(inputs, machine.device), machine.stop))
        machine.stop.check()
        sums.index_add_(0, targets.to(machine.device), torch.cat(pieces))
    group.sum(sums)
    return sums / sums.sum(dim=1, keepdim=True)
