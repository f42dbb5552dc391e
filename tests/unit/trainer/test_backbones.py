"""The networks: pretrained layers stay as they were, the head learns, the graph is the original's."""

import pytest
import timm
import torch
import torchvision
from torch.nn import functional

from trainer.backbones import BACKBONES, Classifier, build_classifier, load_tensors
from trainer.transforms import MEAN, STD


@pytest.fixture(params=list(BACKBONES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def classifier(name: str) -> Classifier:
    torch.manual_seed(0)
    return build_classifier(BACKBONES[name], None, classes=4)


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


def test_training_and_evaluation_see_the_same_features(name: str) -> None:
    images = torch.randn(3, 3, 64, 64)

    with torch.no_grad():
        assert torch.equal(classifier(name).train().extract(images), classifier(name).eval().extract(images))


def test_resnet50_is_torchvisions_up_to_the_head() -> None:
    original = torchvision.models.resnet50(weights=None).eval()
    tensors = original.state_dict()
    original.fc = torch.nn.Identity()
    images = torch.randn(2, 3, 96, 96)

    ours = build_classifier(BACKBONES["resnet50"], tensors, classes=3).eval()

    with torch.no_grad():
        torch.testing.assert_close(ours.extract(images), original(images))


def test_efficientnet_takes_imagenet_normalised_pictures_and_converts_them_itself() -> None:
    original = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    pixels = torch.rand(2, 3, 96, 96)
    imagenet = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    ours = build_classifier(BACKBONES["efficientnet_lite0"], original.state_dict(), classes=3).eval()

    with torch.no_grad():
        expected = original.forward_head(original.forward_features((pixels - 0.498) / 0.502), pre_logits=True)
        torch.testing.assert_close(ours.extract(imagenet), expected, rtol=1e-4, atol=1e-5)


def test_tensors_under_other_names_are_matched_by_position() -> None:
    source, target = (torch.nn.Linear(3, 2) for _ in range(2))

    load_tensors(target, {f"other.{key}": value for key, value in source.state_dict().items()})

    assert torch.equal(target.weight, source.weight)


@pytest.mark.parametrize(
    ("source", "message"),
    [(torch.nn.Linear(4, 2), r"weight has shape \(2, 4\)"), (torch.nn.Linear(3, 2, bias=False), "it has 1")],
)
def test_tensors_of_another_network_are_refused(source: torch.nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_tensors(torch.nn.Linear(3, 2), source.state_dict())
