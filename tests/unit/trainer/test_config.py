"""Hyperparameters: strings in, checked values out, and a page that says the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import backbones, config
from trainer.config import Hyperparameters
from trainer.failures import UsageError
from trainer.toolkit_entry import command_line

ROOT = Path(__file__).parents[3]


def parse(*arguments: str) -> Hyperparameters:
    return config.hyperparameters_of(config.hyperparameter_parser("test").parse_args(arguments))


def test_nothing_given_means_the_defaults() -> None:
    assert parse() == Hyperparameters()


def test_every_hyperparameter_can_be_given_as_a_string() -> None:
    settings = Hyperparameters(
        backbone="efficientnet_lite0", weights="none", unfreeze="all", epochs=7, batch_size=5,
        learning_rate=1e-4, layer_decay=0.5, warmup=0.1, weight_decay=0.5, label_smoothing=0.1, dropout=0.2,
        mixup=0.3, ema=0.9, clip_gradients=1.0, patience=2, views=4, min_crop_area=0.25, resize=300, crop=288,
        feature_cache=False, mixed_precision=False, compile=True, checkpoint_steps=50, max_unreadable=0.5,
        workers=0, seed=9, debug=False, debug_interval=10, debug_whole=True, debug_activations="layer4",
        on_finding="stop", profile=False, profile_steps="20-25", quantise="off",
    )  # fmt: skip
    assert all(getattr(settings, name) != getattr(Hyperparameters(), name) for name in vars(settings))

    assert config.from_strings({name: str(value) for name, value in settings.as_dict().items()}) == settings


@pytest.mark.parametrize(("text", "value"), [("True", True), ("true", True), ("False", False), ("0", False)])
def test_booleans_are_read_as_the_toolkit_writes_them(text: str, value: bool) -> None:
    assert parse("--mixed-precision", text).mixed_precision is value


def test_a_boolean_can_be_switched_off_in_one_word() -> None:
    assert parse("--no-feature-cache").feature_cache is False
    assert parse("--no-feature-cache", "--feature-cache", "true").feature_cache is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "0"], "batch-size must be a number from 1, not 0"),
        (["--batch-size", "2.5"], "batch-size must be a whole number, not '2.5'"),
        (["--learning-rate", "0"], "learning-rate must be a number above 0 to 1000, not 0.0"),
        (["--learning-rate", "-0.1"], "learning-rate must be a number above 0 to 1000, not -0.1"),
        (["--learning-rate", "nan"], "learning-rate must be a number above 0 to 1000, not nan"),
        (["--learning-rate", "fast"], "learning-rate must be a number, not 'fast'"),
        (["--profile-steps", "20"], "profile-steps must be two steps such as 20-25, not '20'"),
        (["--epochs", "0"], "epochs must be a number from 1, not 0"),
        (["--crop", "300"], "crop 300 is larger than resize 256"),
        (["--max-unreadable", "1.5"], "max-unreadable must be a number from 0 to 1, not 1.5"),
        (["--mixed-precision", "maybe"], "mixed-precision must be true or false, not 'maybe'"),
        (
            ["--backbone", "resnet5"],
            "unknown backbone 'resnet5': the known ones are resnet50, efficientnet_lite0, "
            "efficientnet_lite1, efficientnet_lite2, torchvision:NAME, timm:NAME; did you mean 'resnet50'?",
        ),
        (["--learning_rate", "0.1"], "unrecognized arguments: --learning_rate 0.1"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*arguments)

    assert message in str(caught.value)


def test_an_unknown_name_brings_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match=r"unknown hyperparameter 'batch_size'.*did you mean 'batch-size'"):
        config.from_strings({"batch_size": "32"})


@given(value=st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text(), max_size=2)))
def test_odd_values_reach_the_parser_as_they_were(value: object) -> None:
    arguments = command_line({"backbone": value})

    parsed = config.hyperparameter_parser("test").parse_args(arguments)

    assert parsed.backbone == (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def test_the_known_backbones_are_those_of_the_registry() -> None:
    assert tuple(backbones.BACKBONES) == config.BACKBONES


def test_several_backbones_are_named_with_commas() -> None:
    assert parse("--backbone", "resnet50, timm:convnext_tiny").backbones == ["resnet50", "timm:convnext_tiny"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("resnet50,resnet50", "backbone names 'resnet50' twice"),
        ("resnet50,", "unknown backbone ''"),
        ("resnet50,efficientnet", "unknown backbone 'efficientnet'"),
        ("timm:", "unknown backbone 'timm:'"),
        ("", "unknown backbone ''"),
    ],
)
def test_a_wrong_name_among_several_is_the_one_that_is_named(value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse("--backbone", value)


@pytest.mark.parametrize(
    ("arguments", "views", "cached"),
    [
        ((), 1, True),
        (("--views", "4"), 4, True),
        (("--unfreeze", "layer4"), 0, False),
        (("--unfreeze", "all", "--views", "1"), 1, False),
        (("--feature-cache", "false"), 1, False),
    ],
)
def test_frozen_training_is_cached_and_unfrozen_training_sees_new_views(
    arguments: tuple[str, ...], views: int, cached: bool
) -> None:
    settings = parse(*arguments)

    assert settings.view_count == views
    assert settings.cached is cached


def test_the_page_lists_the_hyperparameters_as_they_are() -> None:
    page = (ROOT / "docs" / "hyperparameters.md").read_text(encoding="utf-8")

    assert config.markdown_table() in page
