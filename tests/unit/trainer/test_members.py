"""A member fits the job's pictures, and leaves nothing running: the next one has the machine for itself."""

import shutil
from pathlib import Path

import psutil
import pytest
from torch import Tensor

from trainer import extraction
from trainer.config import Hyperparameters
from trainer.failures import UsageError
from trainer.findings import read_findings
from trainer.job import open_machine, prepare, train
from trainer.locations import Locations
from trainer.observation import observed
from trainer.termination import Stop


@pytest.fixture
def locations(pictures: Path, tmp_path: Path) -> Locations:
    return Locations.from_environment(
        {
            "SM_CHANNEL_TRAINING": str(pictures),
            "SAGEMAKER_BASE_DIR": str(tmp_path / "ml"),
            "TRAINER_CACHE_DIR": str(tmp_path / "cache"),
        }
    )


def run(settings: Hyperparameters, locations: Locations) -> None:
    with open_machine(settings, Stop()) as machine:
        train(prepare(settings, locations, machine, splits=("train", "valid", "test")))


def test_the_loader_processes_of_a_member_end_with_its_training(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Hyperparameters(
        backbone="efficientnet_lite0,efficientnet_lite1",
        weights="none",
        feature_cache=False,
        epochs=1,
        resize=32,
        crop=32,
        workers=1,
    )
    seen: list[set[psutil.Process]] = []
    others = set(psutil.Process().children())  # of earlier tests of this process
    monkeypatch.setattr(
        "trainer.members.Job.report",
        lambda *_, **__: seen.append(set(psutil.Process().children()) - others),
    )

    run(settings, locations)

    assert len(seen) == 3  # after the epoch of each member, and of both together
    assert [len(each) for each in seen] == [2, 2, 0]  # training's and validation's
    assert not seen[0] & seen[1]


@pytest.mark.parametrize("cached", [True, False])
def test_a_transformer_says_that_it_takes_no_pictures_of_this_size(
    locations: Locations, cached: bool
) -> None:
    name = "timm:vit_tiny_patch16_224"
    settings = Hyperparameters(
        backbone=name, weights="none", feature_cache=cached, resize=160, crop=160, workers=0
    )

    with pytest.raises(UsageError, match=rf"^{name} takes no pictures of 160 x 160 \(crop\): .*224"):
        run(settings, locations)


def test_normalisation_left_out_of_the_extraction_is_found_then_and_from_the_cache(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Hyperparameters(
        backbone="efficientnet_lite0", weights="none", epochs=1, resize=32, crop=32, profile=False
    )

    def found() -> list[str]:
        with (
            open_machine(settings, Stop()) as machine,
            observed(settings, locations, machine) as observation,
        ):
            splits = ("train", "valid", "test")
            train(prepare(settings, locations, machine, splits=splits, observation=observation))
        return [each.rule for each in read_findings(locations.output_data_dir)]

    def unnormalised(pixels: Tensor) -> Tensor:
        return pixels.permute(0, 3, 1, 2).float()

    with monkeypatch.context() as fault:
        fault.setattr(extraction, "normalise", unnormalised)
        extracted = found()
    shutil.rmtree(locations.checkpoints.parent)  # all that a new job does not have
    from_the_cache = found()

    assert "InputsNotNormalised" in extracted
    assert "InputsNotNormalised" in from_the_cache
