"""What a report shows of an smdebug trial: the loss at each save, and each layer's norms.

Called by `trainer.report_sections`. smdebug reads a file anew for each value, and waits for files that are
not there; here the index says where the few wanted values lie, and what is damaged is left out and named.
"""

import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.smdebug_support import DecodeError, Event
from trainer.training_rule import LOSS

_WEIGHT = re.compile(r"^[^/]*(weight|bias)$")
_NETWORK = re.compile(r"^[A-Z][A-Za-z0-9]*_")  # smdebug begins names with the network's class
_L2 = "smdebug/reductions/l2/"
_TYPES = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    9: np.int64,
    19: np.float16,
}  # TensorFlow's numbers
_SAVES = 120  # of which layers are shown: more are no better to see, and a deep network has 500 norms in each

Norms = dict[str, dict[int, float]]  # layer → optimiser step → norm


@dataclass
class Curves:
    """What one member's trial holds: losses by optimiser step, and norms by layer in the network's order.

    `damaged` names the index and event files that cannot be read.
    """

    member: str
    training: dict[int, float] = field(default_factory=dict)
    validation: dict[int, float] = field(default_factory=dict)
    gradients: Norms = field(default_factory=dict)
    weights: Norms = field(default_factory=dict)
    updates: Norms = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def growth(self) -> Norms:
        """Each layer's norm as a multiple of the first that is not 0: a head may begin at 0."""
        firsts = {
            layer: next((norm for norm in norms.values() if norm), 1.0)
            for layer, norms in self.weights.items()
        }
        return {
            layer: {step: norm / firsts[layer] for step, norm in norms.items()}
            for layer, norms in self.weights.items()
        }

    @property
    def update_ratios(self) -> Norms:
        """The norm of what a step changed over that of the weights before it."""
        ratios = {
            layer: {
                step: norm / self.weights[layer][step]
                for step, norm in norms.items()
                if self.weights.get(layer, {}).get(step)
            }
            for layer, norms in self.updates.items()
        }
        return {layer: found for layer, found in ratios.items() if found}


@dataclass(frozen=True)
class _Save:
    """One save: its numbers in the trial and in its mode, and where each value lies in its file of events."""

    number: int
    mode: str
    step: int
    events: Path
    places: Mapping[str, tuple[int, int]]


def read_curves(trial: Path, member: str) -> Curves:
    """Everything that can be read of the trial."""
    curves = Curves(member)
    saves = _read_index(trial, curves.damaged)
    training = [save for save in saves if save.mode in ("TRAIN", "GLOBAL")]
    _read(training, _take_loss(curves.training), curves.damaged)
    _read(_thinned(training), _take_norms(curves), curves.damaged)
    _read(_at_training_steps(saves), _take_loss(curves.validation), curves.damaged)
    curves.damaged = list(dict.fromkeys(curves.damaged))
    return curves


def _read_index(trial: Path, damaged: list[str]) -> list[_Save]:
    """All saves in their order; of several workers the first."""
    saves: dict[int, _Save] = {}
    for path in sorted((trial / "index").glob("*/*.json")):
        try:
            number = int(path.name.split("_")[0])
            if number not in saves:
                saves[number] = _save(trial, number, json.loads(path.read_text(encoding="utf-8")))
        except (AttributeError, LookupError, OSError, TypeError, ValueError):
            damaged.append(path.name)
    return [saves[number] for number in sorted(saves)]


def _save(trial: Path, number: int, index: Mapping[str, Any]) -> _Save:
    meta = index["meta"]
    places = {each["tensorname"]: (each["start_idx"], each["length"]) for each in index["tensor_payload"]}
    return _Save(number, meta["mode"], int(meta["mode_step"]), trial / meta["event_file_name"], places)


def _at_training_steps(saves: Sequence[_Save]) -> list[_Save]:
    """The evaluations, each at the last step of training before it, saved or not.

    All numbers that were no evaluations' were steps'.
    """
    evaluations = (save for save in saves if save.mode == "EVAL")
    return [replace(save, step=max(0, save.number - save.step - 1)) for save in evaluations]


def _thinned(saves: Sequence[_Save]) -> list[_Save]:
    """At most so many as can be shown, evenly spaced, with the first and the last."""
    if len(saves) <= _SAVES:
        return list(saves)
    return [saves[round(place)] for place in np.linspace(0, len(saves) - 1, _SAVES)]


def _read(saves: Sequence[_Save], take: Callable[[_Save, bytes], None], damaged: list[str]) -> None:
    """Let `take` have each save and its file of events."""
    for save in saves:
        try:
            take(save, save.events.read_bytes())
        except (DecodeError, LookupError, OSError, ValueError, struct.error):
            damaged.append(save.events.name)


def _take_loss(losses: dict[int, float]) -> Callable[[_Save, bytes], None]:
    def take(save: _Save, content: bytes) -> None:
        for name in save.places:
            if LOSS.search(name) and "/" not in name:
                losses[save.step] = float(_value(name, save, content).mean())

    return take


def _take_norms(curves: Curves) -> Callable[[_Save, bytes], None]:
    def take(save: _Save, content: bytes) -> None:
        for name in dict.fromkeys(place.removeprefix(_L2) for place in save.places):
            norms = _norms_of(name, curves)
            if norms is not None:
                layer = _NETWORK.sub("", name.removeprefix("gradient/").removeprefix("update/"))
                norms.setdefault(layer, {})[save.step] = _norm(name, save, content)

    return take


def _norms_of(name: str, curves: Curves) -> Norms | None:
    """Where a tensor's norm belongs, `None` for one that no plot shows."""
    for prefix, norms in (("gradient/", curves.gradients), ("update/", curves.updates), ("", curves.weights)):
        if name.startswith(prefix) and _WEIGHT.search(name.removeprefix(prefix)):
            return norms
    return None


def _norm(name: str, save: _Save, content: bytes) -> float:
    """The L2 norm as it was saved, else that of the whole tensor."""
    if _L2 + name in save.places:
        return float(_value(_L2 + name, save, content).item())
    return float(np.linalg.norm(_value(name, save, content).astype(np.float64)))


def _value(name: str, save: _Save, content: bytes) -> npt.NDArray[Any]:
    """A value, flat. Its record is a TFRecord: length (8 bytes), checksum (4), event, checksum (4)."""
    start, length = save.places[name]
    record = content[start : start + length]
    if struct.unpack("Q", record[:8])[0] != len(record) - 16:
        raise ValueError(f"the record of {name} is cut off")
    tensor = Event.FromString(record[12:-4]).summary.value[0].tensor
    return np.frombuffer(tensor.tensor_content, _TYPES[tensor.dtype])
