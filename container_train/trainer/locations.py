"""Where a training job finds its data and leaves its results: the /opt/ml contract.

Read from the SM_* variables that sagemaker-training sets; without it from SAGEMAKER_BASE_DIR.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.failures import UsageError

BASE = "/opt/ml"


@dataclass(frozen=True)
class Locations:
    """The folders of one job, and its failure file (`None` outside a job)."""

    data: Path
    pretrained: Path
    model_dir: Path
    output_data_dir: Path
    checkpoints: Path
    cache: Path
    failure_file: Path | None
    debug_configuration: Path | None = None

    @property
    def tensors(self) -> Path:
        """Where smdebug's trial goes: where the platform's configuration says, else to the other results.

        Raises `UsageError` for a configuration that cannot be read.
        """
        if self.debug_configuration is None:
            return self.output_data_dir / "tensors"
        base = self.debug_configuration.parents[2]  # <base>/input/config/debughookconfig.json
        try:
            place = json.loads(self.debug_configuration.read_text(encoding="utf-8")).get("LocalPath")
            path = Path(place or f"{BASE}/output/tensors")
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UsageError(f"{self.debug_configuration} cannot be read: {error}") from None
        return base / path.relative_to(BASE) if path.is_relative_to(BASE) else path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Locations":
        """The folders as the platform laid them out."""
        base = Path(environment.get("SAGEMAKER_BASE_DIR", BASE))

        def folder(variable: str, *parts: str) -> Path:
            return Path(environment.get(variable) or base.joinpath(*parts))

        output = environment.get("SM_OUTPUT_DIR")
        checkpoints = base / "checkpoints"
        debug_configuration = base / "input" / "config" / "debughookconfig.json"
        return cls(
            data=folder("SM_CHANNEL_TRAINING", "input", "data", "training"),
            pretrained=folder("SM_CHANNEL_PRETRAINED", "input", "data", "pretrained"),
            model_dir=folder("SM_MODEL_DIR", "model"),
            output_data_dir=folder("SM_OUTPUT_DATA_DIR", "output", "data"),
            checkpoints=checkpoints,
            cache=Path(environment.get("TRAINER_CACHE_DIR") or _default_cache(environment, checkpoints)),
            failure_file=Path(output, "failure") if output else None,
            debug_configuration=debug_configuration if debug_configuration.is_file() else None,
        )


def _default_cache(environment: Mapping[str, str], checkpoints: Path) -> Path:
    """Where the platform keeps checkpoints for a restarted job, it keeps features as well.

    The platform makes that folder before the job starts: it is empty then, and has the cache ever after. One
    with checkpoints alone was made by a job, whose cache is elsewhere.
    """
    inside = checkpoints / "cache"
    if inside.is_dir() or (checkpoints.is_dir() and not any(checkpoints.iterdir())):
        return inside
    home = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/tmp"), ".cache")  # noqa: S108
    return Path(home, "dog-breeds")
