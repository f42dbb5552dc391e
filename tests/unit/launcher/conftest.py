"""No test of the launcher writes to the person's own cache."""

import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give every job, also those that scripts start, one cache folder of this test run."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("TRAINER_CACHE_DIR", str(folder))
    return str(folder)
