"""Where a job's folders are, and that they are there again at its next start."""

from pathlib import Path

import pytest

from trainer.locations import Locations


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"SAGEMAKER_BASE_DIR": str(tmp_path / "ml"), "HOME": str(tmp_path / "home")}


def run_job(environment: dict[str, str]) -> Path:
    """What every job leaves in the folders that it is given; its cache."""
    found = Locations.from_environment(environment)
    (found.cache / "features").mkdir(parents=True, exist_ok=True)
    (found.checkpoints / "efficientnet_lite0-0123").mkdir(parents=True, exist_ok=True)
    return found.cache


def test_the_cache_of_the_first_run_is_that_of_the_second(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    assert run_job(environment) == run_job(environment) == tmp_path / "home/.cache/dog-breeds"


def test_a_folder_that_the_platform_keeps_has_the_cache_at_every_start(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "ml/checkpoints").mkdir(parents=True)

    assert run_job(environment) == run_job(environment) == tmp_path / "ml/checkpoints/cache"


def test_a_named_cache_is_taken_whatever_the_platform_keeps(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "ml/checkpoints").mkdir(parents=True)
    named = {**environment, "TRAINER_CACHE_DIR": str(tmp_path / "named")}

    assert Locations.from_environment(named).cache == tmp_path / "named"
