"""The networks: pretrained layers stay as they were, the head learns, the graph is the original's."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from trainer.backbones import (
    BACKBONES,
    Classifier,
    Unfreeze,
    build_classifier,
    find_backbone,
    load_tensors,
    pretrained_head,
)
from trainer.failures import UsageError
from trainer.trunks import cut_trunk
from trainer.views import MEAN, STD, Preprocessing, centre
from trainer.weights import find_weights

BY_NAME = (
    "timm:mobilenetv3_small_100",
    "timm:resnet18",
    "timm:convnext_atto",
    "timm:vit_tiny_patch16_224",
    "torchvision:mobilenet_v3_large",
    "torchvision:resnet18",
    "torchvision:densenet121",
    "torchvision:vit_b_16",
)
UNFREEZE: tuple[Unfreeze, ...] = ("none", "layer4", "all")
DOGS = range(151, 269)  # ImageNet's indices of dog breeds


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One picture at a time: threads would wait for one another longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=list(BACKBONES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[*BACKBONES, *BY_NAME])
def any_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def classifier(name: str, *, seed: int = 0) -> Classifier:
    return build_classifier(find_backbone(name), None, classes=4, seed=seed)


@cache
def original(name: str) -> torch.nn.Module:
    """The whole network with its 1,000 classes, its weights random."""
    torch.manual_seed(0)
    return find_backbone(name).build().eval()


@cache
def cut(name: str) -> Classifier:
    return build_classifier(find_backbone(name), original(name).state_dict(), classes=4, seed=0)


def imagenet_normalised(pixels: Tensor) -> Tensor:
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def test_the_head_has_one_logit_per_class(name: str) -> None:
    images = torch.randn(2, 3, 64, 64)

    model = classifier(name).eval()

    assert model(images).shape == (2, 4)
    assert model.extract(images).shape == (2, BACKBONES[name].features)


def test_a_training_step_changes_the_head_and_nothing_else(name: str) -> None:
    model = classifier(name).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    functional.cross_entropy(model(torch.randn(4, 3, 64, 64)), torch.tensor([0, 0, 1, 2])).backward()
    optimizer.step()

    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"head.weight", "head.bias"}


def test_a_random_backbone_follows_from_its_seed_alone() -> None:
    torch.manual_seed(1)
    first = classifier("efficientnet_lite0", seed=5).state_dict()
    undisturbed = torch.rand(1)
    torch.manual_seed(2)
    second = classifier("efficientnet_lite0", seed=5).state_dict()
    other = classifier("efficientnet_lite0", seed=6).state_dict()

    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), undisturbed)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(
        first["backbone.rescaled.conv_stem.weight"], other["backbone.rescaled.conv_stem.weight"]
    )


def test_the_features_are_what_the_original_gave_its_last_layer(any_name: str) -> None:
    entry, network = find_backbone(any_name), original(any_name)
    pixels = torch.rand(1, 3, 224, 224)
    head = pretrained_head(entry, network.state_dict())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (entry.mean, entry.std))

    with torch.no_grad():
        features = cut(any_name).extract(imagenet_normalised(pixels))
        expected = network((pixels - mean) / std)

    assert head is not None
    assert features.shape == (1, entry.features)
    torch.testing.assert_close(functional.linear(features, *head), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_lite2", "timm:resnet18", "torchvision:resnet18"])
def test_a_convolutional_backbone_gives_maps_that_can_be_looked_at(name: str) -> None:
    with torch.no_grad():
        maps = cut(name).backbone(torch.zeros(1, 3, 224, 224))

    assert maps.shape == (1, find_backbone(name).features, 7, 7)


def trainable(model: Classifier) -> set[int]:
    return {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def listed(model: Classifier) -> list[int]:
    return [id(parameter) for stage in model.stages() for parameter in stage]


def test_every_parameter_that_trains_is_in_one_stage(any_name: str) -> None:
    model, stages = cut(any_name), {}

    for which in UNFREEZE:
        model.unfreeze(which)
        stages[which] = len(model.stages())
        assert sorted(listed(model)) == sorted(trainable(model))
        assert model.stages()[0] == list(model.head.parameters())

    assert trainable(model) == {id(parameter) for parameter in model.parameters()}
    assert (stages["none"], stages["layer4"]) == (1, 2)
    assert stages["all"] > 4


@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", *(name for name in BY_NAME if name != "torchvision:vit_b_16")]
)
def test_every_parameter_that_trains_has_a_gradient(name: str) -> None:
    model = cut(name)
    model.unfreeze("all")
    torch.nn.init.normal_(model.head.weight)

    model(torch.randn(1, 3, 224, 224)).square().sum().backward()

    with_gradient = {id(parameter) for parameter in model.parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    assert with_gradient == trainable(model)


def prefixes(model: Classifier, stage: int) -> set[str]:
    members = {id(parameter) for parameter in model.stages()[stage]}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in members]
    return {name.removeprefix("backbone.").removeprefix("rescaled.").rsplit(".", 1)[0] for name in names}


def test_resnets_last_stage_is_layer4_and_its_first_the_stem() -> None:
    model = cut("resnet50")
    model.unfreeze("layer4")
    assert {prefix.partition(".")[0] for prefix in prefixes(model, 1)} == {"layer4"}

    model.unfreeze("all")
    assert prefixes(model, -1) == {"conv1", "bn1"}
    assert len(model.stages()) == 6


def test_efficientnets_last_stage_includes_its_final_convolution() -> None:
    model = cut("efficientnet_lite1")
    model.unfreeze("layer4")

    assert {"conv_head", "bn2"} < prefixes(model, 1)
    assert all(prefix.startswith(("blocks.6", "conv_head", "bn2")) for prefix in prefixes(model, 1))


def test_a_transformers_last_stage_is_its_last_block_and_norm() -> None:
    model = cut("timm:vit_tiny_patch16_224")
    model.unfreeze("layer4")

    assert {prefix.split(".")[2] for prefix in prefixes(model, 1) if "blocks" in prefix} == {"11"}
    assert "network.norm" in prefixes(model, 1)


def test_batch_norm_keeps_its_statistics_when_everything_trains() -> None:
    model = classifier("efficientnet_lite0")
    model.unfreeze("all")
    model.train()
    images = torch.randn(4, 3, 64, 64)
    before = {key: value.clone() for key, value in model.state_dict().items() if "running" in key}

    with torch.no_grad():
        whole, halves = model.extract(images), [model.extract(half) for half in images.split(2)]

    torch.testing.assert_close(whole, torch.cat(halves))
    assert before
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_resnet50s_address_is_torchvisions() -> None:
    from torchvision.models import ResNet50_Weights

    assert BACKBONES["resnet50"].url == ResNet50_Weights.IMAGENET1K_V2.url
    assert find_backbone("torchvision:resnet50").url == ResNet50_Weights.IMAGENET1K_V2.url


def test_a_registered_backbone_is_known_without_the_seconds_that_timm_and_torchvision_take() -> None:
    program = (
        "import sys, trainer.weights, trainer.backbones as b; b.find_backbone('efficientnet_lite2'); "
        "print([name for name in ('torchvision', 'timm', 'openvino') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet5",
            r"unknown backbone 'resnet5': .*lite2, timm:NAME.*did you mean 'resnet50'\?",
        ),
        ("torchvision:resnet5", r"torchvision knows no 'resnet5'; did you mean 'torchvision:resnet50'\?"),
        ("timm:resnt18", r"timm knows no 'resnt18'; did you mean 'timm:.*resnet18'\?"),
        ("timm:resnet18.imaginary", "timm has no weights 'resnet18.imaginary'"),
        ("timm:eva02_tiny_patch14_336", "takes pictures of 336 × 336 only; choose one for 224 × 224"),
        ("timm:deit_tiny_distilled_patch16_224", "cannot be trained on: it has several classifiers"),
        ("torchvision:squeezenet1_1", "cannot be trained on: it has no linear layer"),
        ("timm:../etc", r"timm knows no '\.\./etc'"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_the_reason(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_backbone(name)


class TwoHeads(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 5), torch.nn.Linear(3, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = images.mean((2, 3))
        return (self.first(features) + self.second(features)) / 2


def test_a_network_whose_logits_come_from_two_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="are not one linear layer"):
        cut_trunk(TwoHeads(), classifier="second")


def test_tensors_under_other_names_are_matched_by_position() -> None:
    source, target = (torch.nn.Linear(3, 2) for _ in range(2))

    load_tensors(target, {f"other.{key}": value for key, value in source.state_dict().items()})

    assert torch.equal(target.weight, source.weight)


def test_a_file_without_batch_norm_counters_is_loaded() -> None:
    source, target = (torch.nn.BatchNorm2d(3) for _ in range(2))
    torch.nn.init.normal_(source.weight)
    tensors = source.state_dict()
    del tensors["num_batches_tracked"]

    load_tensors(target, tensors)

    assert torch.equal(target.weight, source.weight)


@pytest.mark.parametrize(
    ("source", "message"),
    [(torch.nn.Linear(4, 2), r"weight has shape \(2, 4\)"), (torch.nn.Linear(3, 2, bias=False), "it has 1")],
)
def test_tensors_of_another_network_are_refused(source: torch.nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_tensors(torch.nn.Linear(3, 2), source.state_dict())


def test_tensors_under_other_names_that_lost_their_order_are_not_guessed() -> None:
    target = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3))
    tensors = {f"other.{key}": value for key, value in sorted(target.state_dict().items())}

    with pytest.raises(ValueError, match="no order to match them by"):
        load_tensors(target, tensors)
    assert pretrained_head(BACKBONES["resnet50"], tensors) is None


@pytest.mark.parametrize(
    "tensors",
    [
        None,
        {},
        {"fc.weight": torch.zeros(1000, 7), "fc.bias": torch.zeros(1000)},
        {"fc.weight": torch.zeros(21843, 2048), "fc.bias": torch.zeros(21843)},
        {"bn.weight": torch.zeros(2048), "bn.bias": torch.zeros(2048)},
    ],
)
def test_there_is_no_pretrained_head_where_no_imagenet_classifier_is(
    tensors: dict[str, Tensor] | None,
) -> None:
    assert pretrained_head(BACKBONES["resnet50"], tensors) is None


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_the_packages_weights_see_dogs_in_photographs_of_dogs(name: str, dogs: Path, tmp_path: Path) -> None:
    entry = BACKBONES[name]
    tensors = find_weights(entry, "auto", channel=tmp_path, image=tmp_path).tensors
    head = pretrained_head(entry, tensors)
    breeds = sorted((dogs / "test").iterdir())[::10]
    pictures = [centre(Image.open(next(breed.iterdir())).convert("RGB"), Preprocessing()) for breed in breeds]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
    assert head is not None

    with torch.no_grad():
        features = build_classifier(entry, tensors, classes=2, seed=0).extract(imagenet_normalised(pixels))
        answers = functional.linear(features, *head).argmax(1)

    assert len(answers) >= 12
    assert sum(int(answer) in DOGS for answer in answers) >= 0.9 * len(answers)
