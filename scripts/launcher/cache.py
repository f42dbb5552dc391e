"""The folder of this machine in which training jobs keep what is costly to compute: features and scans.

Both local backends give it to every job, so that a trial, or the next job, finds what an earlier one left.
"""

from collections.abc import Mapping
from pathlib import Path

from launcher.errors import SettingsError

VARIABLE = "TRAINER_CACHE_DIR"  # read here, and given to the training program


def folder(environment: Mapping[str, str]) -> Path:
    """Return the cache folder, made if need be: TRAINER_CACHE_DIR, else dog-breeds below the user's cache.

    Raises SettingsError when it cannot be made.
    """
    place = environment.get(VARIABLE) or "its default place"
    try:
        path = _place(environment)
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home folder
        raise SettingsError(
            f"the cache folder cannot be made at {place} ({error}): name another one in {VARIABLE}"
        ) from None
    return path.resolve()


def _place(environment: Mapping[str, str]) -> Path:
    if chosen := environment.get(VARIABLE):
        return Path(chosen).expanduser()
    caches = environment.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "dog-breeds"
