"""smdebug's hook, told by `trainer.debugger` what to save instead of finding it by itself.

The training loop does not call the network as a whole, and takes a batch in pieces: what smdebug would count
as a step is none. Its collections, reductions and schedules are used as they are, and the platform's
debughookconfig.json is read by it.
"""

import atexit
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer import smdebug_support
from trainer.failures import UsageError
from trainer.smdebug_support import (
    ModeKeys,
    ReductionConfig,
    SaveConfig,
    SaveConfigMode,
    SMDebugError,
)
from trainer.trial_steps import SavedStep

_SCHEDULE = re.compile(r"(^|\.)(save_interval|save_steps|start_step|end_step)$")
_NO_WEIGHT = "^(?!gradient|update/|scalar/|dead/|saturated/).*"
_REDUCTIONS: dict[str, Any] = {
    "reductions": ["mean", "std", "min", "max"],
    "norms": ["l2"],
    "abs_reductions": ["max"],
}
_SMDEBUGS_OWN = ["losses", "gradients", "weights", "biases"]
_EPOCHS = "epochs"
# What smdebug does not know by itself: the collection, its tensors, and whether they are saved whole.
_COLLECTIONS = (
    ("updates", "^update/", False),
    ("activations", r"^(?!dead/|saturated/).*(?<![Ll]oss)_(input|output)_\d+$", False),
    ("activation_health", "^(dead|saturated)/", True),
    ("pictures", "^(class_counts|extracted_inputs)$", True),
    (_EPOCHS, "^scalar/", True),
)


@dataclass(frozen=True)
class DebugSettings:
    """What is saved: every `interval` steps, 0 as often as time allows; `activations` is a regex of layers.

    `configuration` is the platform's debughookconfig.json, where there is one: its reductions and its
    schedule go before those here.
    """

    interval: int = 0
    whole: bool = False
    activations: str = ""
    configuration: Path | None = None


def create_hook(folder: Path, settings: DebugSettings) -> "Hook":
    """A hook for the trial in `folder`; raises `UsageError` where smdebug refuses the configuration."""
    scheduled = settings.interval > 0
    try:
        if settings.configuration is None:
            hook = Hook(
                out_dir=str(folder),
                save_config={
                    ModeKeys.TRAIN: SaveConfigMode(save_interval=max(1, settings.interval)),
                    ModeKeys.EVAL: SaveConfigMode(save_interval=1),
                },
                reduction_config=ReductionConfig(**_REDUCTIONS, save_raw_tensor=settings.whole),
                include_collections=_SMDEBUGS_OWN,
            )
        else:
            scheduled = _has_schedule(settings.configuration)
            hook = Hook.create_from_json_file(str(settings.configuration))
        hook.prepare(folder, scheduled=scheduled)
    except (SMDebugError, AttributeError, TypeError, ValueError) as error:
        place = settings.configuration or "the settings of the debugger"
        raise UsageError(f"smdebug does not take {place}: {error}") from error
    return hook


def _has_schedule(configuration: Path) -> bool:
    """Whether a debughookconfig.json says when to save; raises `UsageError`."""
    try:
        content = json.loads(configuration.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{configuration} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{configuration} must hold one JSON object")
    parameters = [content.get("HookParameters") or {}]
    parameters += [
        each.get("CollectionParameters") or {} for each in content.get("CollectionConfigurations") or []
    ]
    return any(_SCHEDULE.search(name) for each in parameters for name in each)


class Hook(smdebug_support.Hook):  # type: ignore[misc]
    """smdebug's hook, which keeps what it is given until the step is saved.

    `scheduled` says whether somebody has said when to save; without that, every step may be.
    """

    def prepare(self, folder: Path, *, scheduled: bool) -> None:
        """Know our collections besides smdebug's."""
        atexit.unregister(self._cleanup)  # nothing is open between two steps
        self.folder, self.scheduled = folder, scheduled
        self.pending: dict[str, Tensor] = {}
        if not scheduled:
            self.save_config = SaveConfig(save_interval=1)
            for collection in self.get_collections().values():
                collection.save_config = None
        for name, kind in (("weights", "weight"), ("biases", "bias")):
            self.get_collection(name).include_regex = [f"{_NO_WEIGHT}{kind}"]
        for name, pattern, whole in _COLLECTIONS:
            collection = self.get_collection(name)
            collection.include(pattern)
            if whole:
                collection.reduction_config = ReductionConfig(save_raw_tensor=True)
            self.include_collections.append(name)
        self.get_collection(_EPOCHS).save_config = SaveConfig(save_interval=1)
        self._prepare_collections()

    def at(self, number: int, mode: ModeKeys, mode_step: int) -> None:
        """Begin a step: its number in the trial, its mode, and its number in that mode."""
        self.pending = {}
        self.step = number
        self.set_mode(mode)
        self.mode_steps[mode] = mode_step

    def wants_step(self) -> bool:
        """Whether the schedule saves anything of this step of training."""
        return any(collection.name != _EPOCHS for collection in self._get_collections_to_save_for_step())

    def want_all(self) -> None:
        """Save all collections at this step, whatever the schedule says."""
        self._collections_to_save_for_step = set(self._collections_to_save)

    def save(self, name: str, value: Tensor) -> None:
        """Keep a tensor, or its reductions, where its collection is saved at this step."""
        self._save_for_tensor(name, value)

    def _write_raw_tensor_simple(
        self, tensor_name: str, tensor_value: Any, tensor_ref: Any = None, timestamp: float | None = None
    ) -> None:
        """Keep a copy on its device: all of a step's go over together, after the weights have changed."""
        self.pending[tensor_name] = tensor_value.detach().to(torch.float32, copy=True)

    def saved(self) -> SavedStep:
        """What was kept of this step."""
        scalars = [value for value in self.pending.values() if value.ndim == 0]
        device = next((value.device for value in scalars if value.device.type != "cpu"), None)
        together = torch.stack([value.to(device) for value in scalars]).tolist() if scalars else []
        numbers = iter(together)
        values: dict[str, npt.NDArray[np.generic]] = {
            name: np.array(next(numbers), np.float32) if value.ndim == 0 else value.cpu().numpy()
            for name, value in self.pending.items()
        }
        return SavedStep(self.step, self.mode, self.mode_steps[self.mode], values)

    def describe(self) -> None:
        """Write which collections there are, without which smdebug reads no trial; raises `OSError`."""
        self.out_dir = str(self.folder)
        self.export_collections()
