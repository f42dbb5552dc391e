"""A member of an ensemble leaves nothing running: the next one has the machine for itself."""

from pathlib import Path

import psutil
import pytest

from trainer.config import Hyperparameters
from trainer.job import open_machine, prepare, train
from trainer.locations import Locations
from trainer.termination import Stop


def test_the_loader_processes_of_a_member_end_with_its_training(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = Locations.from_environment(
        {"SM_CHANNEL_TRAINING": str(pictures), "SAGEMAKER_BASE_DIR": str(tmp_path / "ml")}
    )
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

    with open_machine(settings, Stop()) as machine:
        train(prepare(settings, locations, machine, splits=("train", "valid", "test")))

    assert len(seen) == 3  # after the epoch of each member, and of both together
    assert [len(each) for each in seen] == [2, 2, 0]  # training's and validation's
    assert not seen[0] & seen[1]
