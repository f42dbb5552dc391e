"""What a training loop trains: a head on what its inputs become. Called by the loop and by evaluations."""

from typing import Protocol

from torch import Tensor, nn


class Network(Protocol):
    """A `trainer.backbones.Classifier`, or what is trained of it on cached features."""

    head: nn.Linear

    def extract(self, inputs: Tensor) -> Tensor:
        """Inputs → the head's inputs (N, features)."""
        ...

    def stages(self) -> list[list[nn.Parameter]]:
        """What is trained, from the head down."""
        ...


class HeadOnly(nn.Module):
    """A classifier whose inputs are features (N, features): its backbone is the feature cache."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    def extract(self, features: Tensor) -> Tensor:
        """Nothing left to do."""
        return features

    def stages(self) -> list[list[nn.Parameter]]:
        """The head."""
        return [list(self.head.parameters())]
