"""A classification network's trunk: all of it before the last linear layer, and the stages it has.

Called by `trainer.backbones`. A trunk takes ImageNet-normalised pictures (N, 3, S, S) and gives feature maps
(N, F, h, w), whose mean is what the last linear layer took; they are 1 × 1 where the network pools itself.
"""

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional

from trainer.failures import UsageError
from trainer.views import MEAN, STD, Preprocessing

SIDE = Preprocessing().crop  # of the pictures that the job trains on, in pixels

# What torchvision and timm call the module that lists a network's stages or blocks; the first two are ours.
_CHAINS = {"network", "rescaled", "blocks", "body", "encoder", "features", "layers", "stages", "trunk_output"}
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_ROUNDING = 1e-4  # of the largest value: two ways to compute the same


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


class _FeatureMaps(nn.Module):
    """A network of timm's up to global pooling."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        return maps


class _Pooled(nn.Module):
    """A network that pools itself, without its last layer, as feature maps of one cell."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images)
        return features[:, :, None, None]


def rescaled(trunk: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """The trunk for ImageNet-normalised pictures, where it was trained with another mean and deviation."""
    if (mean, std) == (MEAN, STD):
        return trunk
    return nn.Sequential(OrderedDict([("rescale", Rescale(mean, std)), ("rescaled", trunk)]))


def last_linear(network: nn.Module) -> str:
    """The name of the last layer that could be the classifier; raises `UsageError` without any."""
    names: list[str] = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not names:
        raise UsageError("it has no linear layer that could be replaced")
    return names[-1]


def width_of(network: nn.Module, classifier: str) -> int:
    """The number of features that the layer named `classifier` takes."""
    layer = network.get_submodule(classifier)
    if isinstance(layer, nn.Linear):
        return layer.in_features
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels
    return int(network.head_hidden_size)  # type: ignore[arg-type] # timm's word where there is no classifier


@torch.no_grad()
def cut_trunk(network: nn.Module, *, classifier: str) -> nn.Module:
    """The trunk of any network, found out by its answers to a random picture.

    Raises `UsageError` where the network does not take the job's pictures, or where more than one linear
    layer makes logits of its features.
    """
    network.eval()
    images = torch.randn(1, 3, SIDE, SIDE)
    answers = _answers(network, images)
    layer = network.get_submodule(classifier)
    network.set_submodule(classifier, nn.Identity())
    features = _features(network, images)
    if features is None or not _is_linear_in(features, layer, answers):
        raise UsageError("its logits are not one linear layer on its features, the layer that gets replaced")
    for candidate in _with_maps(network):
        maps = candidate(images)
        if isinstance(maps, Tensor) and maps.ndim == 4 and _agree(maps.mean((2, 3)), features):
            return candidate
    return _Pooled(network)


def _answers(network: nn.Module, images: Tensor) -> Tensor:
    try:
        answers = network(images)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"it does not take pictures of {SIDE} × {SIDE}: {reason}") from error
    if not isinstance(answers, Tensor):
        raise UsageError("it answers with more than logits")
    return answers


def _features(network: nn.Module, images: Tensor) -> Tensor | None:
    """What the network gives without its classifier, if it still works."""
    try:
        features: Tensor = network(images)
    except RuntimeError:  # a second classifier's logits do not add up with features
        return None
    return features


def _is_linear_in(features: Tensor, layer: nn.Module, answers: Tensor) -> bool:
    if features.ndim != 2:
        return False
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        return _agree(features, answers)  # timm leaves an `Identity` where a network has no classifier
    weight = layer.weight.flatten(1)
    return weight.shape[1] == features.shape[1] and _agree(
        functional.linear(features, weight, layer.bias), answers
    )


def _agree(one: Tensor, other: Tensor) -> bool:
    same_shape = one.shape == other.shape
    return same_shape and bool((one - other).abs().max() <= _ROUNDING * other.abs().max())


def _with_maps(network: nn.Module) -> Iterator[nn.Module]:
    """What may give the maps before global pooling: timm's method, or all before the last two layers."""
    if hasattr(network, "forward_features"):
        yield _FeatureMaps(network)
    children = list(network.named_children())
    if len(children) > 2 and isinstance(children[-2][1], nn.AdaptiveAvgPool2d):
        yield nn.Sequential(OrderedDict(children[:-2]))


def stages_of(trunk: nn.Module) -> list[list[Parameter]]:
    """A trunk's parameters by stage, from the stem to the last, each exactly once.

    A stage is an element of the module that lists them (ResNet's layer4, a transformer's block), or what
    lies between two poolings; a single layer and its norm belong to the stage before them, and so
    does whatever follows the last stage.
    """
    stages: list[list[Parameter]] = [[]]
    seen: set[int] = set()
    for parameters, begins in _layers(trunk):
        if begins and stages[-1]:
            stages.append([])
        stages[-1] += [parameter for parameter in parameters if id(parameter) not in seen]
        seen.update(map(id, parameters))
    return [stage for stage in stages if stage]


def _layers(module: nn.Module) -> Iterator[tuple[list[Parameter], bool]]:
    """Each layer's parameters in order, and whether it begins a stage."""
    yield list(module.parameters(recurse=False)), False
    pooled = listed = False
    for name, child in module.named_children():
        if name in _CHAINS:
            yield from _layers(child)
            listed = True
            continue
        parameters = list(child.parameters())
        matrices = sum(parameter.ndim > 1 for parameter in parameters)
        yield parameters, bool(parameters) and not listed and (matrices > 1 or pooled)
        pooled = isinstance(child, _POOLS) or (pooled and not parameters)
