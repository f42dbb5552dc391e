"""The hyperparameters: each name, type, range, default and meaning, once.

The command line of the entry scripts, docs/hyperparameters.md and the check of tuning ranges
are derived from `Hyperparameters`.
"""

import argparse
import dataclasses
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, get_type_hints

from trainer.failures import UsageError

BACKBONES = ("resnet50", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
LIBRARIES = ("torchvision:", "timm:")  # whose classifiers are known by their own names
WEIGHTS = ("auto", "none")
UNFREEZE = ("none", "layer4", "all")
QUANTISE = ("auto", "off")

Value = bool | int | float | str


@dataclass(frozen=True)
class Range:
    """Which values are valid: an interval, or a list of choices.

    With `several` the value is a comma list of different choices; a choice that ends in a colon
    stands for every name that begins with it.
    """

    low: float | None = None
    high: float | None = None
    above_low: bool = False
    choices: tuple[str, ...] = ()
    several: bool = False

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(f"{each}NAME" if each.endswith(":") else each for each in self.choices)
        low = "" if self.low is None else f"{'above' if self.above_low else 'from'} {self.low:g}"
        high = "" if self.high is None else f"{'to' if low else 'at most'} {self.high:g}"
        return " ".join(part for part in (low, high) if part) or "any"

    def allows(self, value: Value) -> bool:
        """Whether a value of the right type lies in the range."""
        if self.choices:
            return not self.strangers(str(value))
        if isinstance(value, str | bool):
            return True
        too_low = self.low is not None and (value < self.low or (self.above_low and value == self.low))
        return math.isfinite(value) and not too_low and not (self.high is not None and value > self.high)

    def items(self, value: str) -> list[str]:
        """The names in a value."""
        return [item.strip() for item in value.split(",")] if self.several else [value]

    def strangers(self, value: str) -> list[str]:
        """The names in a value that are not choices, or that it has named before."""
        items = self.items(value)
        return [name for place, name in enumerate(items) if not self._known(name) or name in items[:place]]

    def _known(self, name: str) -> bool:
        prefixes = [choice for choice in self.choices if choice.endswith(":")]
        return (name in self.choices and name not in prefixes) or any(
            name.startswith(prefix) and name != prefix for prefix in prefixes
        )


def _setting(default: Any, help: str, **limits: Any) -> Any:  # noqa: A002 - argparse's own word
    return field(default=default, metadata={"help": help, "range": Range(**limits)})


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """One training run's settings; raises `UsageError` for a value outside its range."""

    backbone: str = _setting(
        "resnet50",
        "the pretrained network; several, with commas between them, are trained one after the other and "
        "answer together",
        choices=(*BACKBONES, *LIBRARIES),
        several=True,
    )
    weights: str = _setting(
        "auto",
        "`auto` looks in the `pretrained` channel, the image and the library's download; "
        "`none` freezes random numbers: for trying the machinery, not for accuracy",
        choices=WEIGHTS,
    )
    unfreeze: str = _setting(
        "none",
        "which layers of the network are trained besides the head; `layer4` is its last stage",
        choices=UNFREEZE,
    )
    epochs: int = _setting(3, "passes over the training pictures", low=1)
    batch_size: int = _setting(64, "pictures per optimiser step, over all hosts and GPUs together", low=1)
    learning_rate: float = _setting(
        0.01,
        "step size of the head, falling to zero along a cosine",
        low=0,
        high=1000,
        above_low=True,
    )
    layer_decay: float = _setting(
        0.4, "step size of an unfrozen stage, as a share of the one above it", low=0, high=1, above_low=True
    )
    warmup: float = _setting(
        0.0, "share of the steps in which the step size rises from zero", low=0, high=0.9
    )
    weight_decay: float = _setting(0.0, "pull of the trained weights towards zero", low=0)
    label_smoothing: float = _setting(
        0.0, "share of each target that is spread over all classes", low=0, high=0.9
    )
    dropout: float = _setting(0.0, "share of the head's inputs that a step leaves out", low=0, high=0.95)
    mixup: float = _setting(
        0.0,
        "alpha of mixup, 0 is off; mixes features where the network is frozen, else pictures",
        low=0,
        high=10,
    )
    ema: float = _setting(
        0.0,
        "decay of the moving average of the weights that is evaluated and exported; 0 is off",
        low=0,
        high=0.9999,
    )
    clip_gradients: float = _setting(0.0, "largest norm of all gradients together; 0 is no limit", low=0)
    patience: int = _setting(
        0, "epochs without a better validation accuracy before training ends; 0 is all", low=0
    )
    views: int = _setting(
        -1,
        "how many views of a picture epochs draw from: 1 is its centre, more are its centre and random "
        "crops, perhaps mirrored; 0 is a new random crop in every epoch; -1 is 1, or 0 with unfrozen layers",
        low=-1,
    )
    min_crop_area: float = _setting(
        0.6, "a random crop covers at least this share of the picture's area", low=0, high=1, above_low=True
    )
    resize: int = _setting(256, "pixels of a picture's short side", low=16, high=2048)
    crop: int = _setting(224, "pixels of the square that the network sees", low=16, high=2048)
    feature_cache: bool = _setting(
        True, "compute what frozen layers make of each view once, and keep it for every later run"
    )
    mixed_precision: bool = _setting(
        True, "bfloat16 in training, where the processor computes in it; answers are float32"
    )
    compile: bool = _setting(False, "compile the unfrozen network with torch.compile")
    quantise: str = _setting(
        "auto",
        "`auto` exports the network in int8 too, where that costs at most 0.5 point of validation accuracy",
        choices=QUANTISE,
    )
    checkpoint_steps: int = _setting(
        200, "steps between checkpoints, besides those after each epoch and at SIGTERM", low=1
    )
    max_unreadable: float = _setting(
        0.01, "share of a split's files that may be unreadable before the job fails", low=0, high=1
    )
    workers: int = _setting(-1, "processes that load pictures; -1 is one per processor, at most 16", low=-1)
    debug: bool = _setting(
        True,
        "save what loss, gradients, weights and activations look like through smdebug, and let rules look at "
        "them; a search's trials do without",
    )
    debug_interval: int = _setting(
        0, "steps between saves; 0 is as often as 1 % of the time allows, at most 20 times an epoch", low=0
    )
    debug_whole: bool = _setting(False, "save whole tensors besides their mean, spread, range and norm")
    debug_activations: str = _setting(
        "", "regular expression of the layers whose activations are saved besides the head's"
    )
    on_finding: str = _setting(
        "warn",
        "what a finding of a rule does: `warn` says it, `stop` writes a checkpoint and fails the job",
        choices=("warn", "stop"),
    )
    profile: bool = _setting(
        True, "time the phases of training and watch the machine; a search's trials do without"
    )
    profile_steps: str = _setting(
        "", "first and last step, such as 20-25, that torch.profiler traces for Perfetto; empty is none"
    )
    seed: int = _setting(0, "start of every random number", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value, valid = getattr(self, entry.name), entry.metadata["range"]
            if not valid.allows(value):
                raise UsageError(_out_of_range(flag_name(entry.name), value, valid))
        if self.profile_steps and not re.fullmatch(r"\d+-\d+", self.profile_steps):
            raise UsageError(f"profile-steps must be two steps such as 20-25, not {self.profile_steps!r}")
        if self.crop > self.resize:
            raise UsageError(
                f"crop {self.crop} is larger than resize {self.resize}: it would have black borders"
            )

    @property
    def backbones(self) -> list[str]:
        """The names in `backbone`."""
        return [name.strip() for name in self.backbone.split(",")]

    @property
    def frozen(self) -> bool:
        """Whether nothing but the head is trained."""
        return self.unfreeze == "none"

    @property
    def cached(self) -> bool:
        """Whether the head is trained on features from the cache."""
        return self.frozen and self.feature_cache

    @property
    def traced_steps(self) -> range | None:
        """The steps, from 0 over all epochs, that `profile_steps` names."""
        if not self.profile_steps:
            return None
        first, _, last = self.profile_steps.partition("-")
        return range(int(first), int(last) + 1)

    @property
    def view_count(self) -> int:
        """`views` with its default worked out; 0 is a new view in every epoch."""
        return self.views if self.views >= 0 else int(self.frozen)

    def as_dict(self) -> dict[str, Value]:
        """Hyphenated name → value, as the platform writes them."""
        return {flag_name(name): value for name, value in dataclasses.asdict(self).items()}


def flag_name(field_name: str) -> str:
    """`batch_size` → `batch-size`, the name of the hyperparameter."""
    return field_name.replace("_", "-")


def _out_of_range(name: str, value: Value, valid: Range) -> str:
    if valid.choices:
        stranger = valid.strangers(str(value))[0]
        if stranger in valid.choices and not stranger.endswith(":"):
            return f"{name} names {stranger!r} twice"
        close = difflib.get_close_matches(stranger, valid.choices, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"unknown {name} {stranger!r}: the known ones are {valid}{hint}"
    return f"{name} must be a number {valid}, not {value!r}"


def _parse_value(name: str, kind: type, text: str) -> Value:
    """One hyperparameter's text as its type; the toolkit writes JSON's `true` as `True`."""
    if kind is bool:
        return _parse_bool(name, text)
    if kind is str:
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name} must be {what}, not {text!r}") from None


def _parse_bool(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise UsageError(f"{name} must be true or false, not {text!r}")
    return text.lower() in {"true", "1"}


def from_strings(values: Mapping[str, str]) -> Hyperparameters:
    """The hyperparameters of a request, whose values are all strings; raises `UsageError`."""
    kinds = {flag_name(name): kind for name, kind in get_type_hints(Hyperparameters).items()}
    for name in values:
        if name not in kinds:
            raise UsageError(_unknown(name, list(kinds)))
    parsed = {name: _parse_value(name, kinds[name], text) for name, text in values.items()}
    return Hyperparameters(**{name.replace("-", "_"): value for name, value in parsed.items()})  # type: ignore[arg-type]


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown hyperparameter {name!r}: the known ones are {', '.join(sorted(known))}{hint}"


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are `UsageError`s, so that they reach the failure file."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def hyperparameter_parser(description: str) -> Parser:
    """A parser with one --option per hyperparameter; read it with `hyperparameters_of`."""
    parser = Parser(description=description, allow_abbrev=False)
    group = parser.add_argument_group("hyperparameters")
    hints = get_type_hints(Hyperparameters)
    for entry in dataclasses.fields(Hyperparameters):
        valid = entry.metadata["range"]
        limits = "" if str(valid) == "any" else f"; {valid}"
        text = f"{entry.metadata['help']}{limits} (default: {entry.default})".replace("%", "%%")
        group.add_argument(f"--{flag_name(entry.name)}", metavar="X", help=text)
        if hints[entry.name] is bool:
            no = f"--no-{flag_name(entry.name)}"
            off = f"--{flag_name(entry.name)} false"
            group.add_argument(no, dest=entry.name, action="store_const", const="false", help=off)
    return parser


def hyperparameters_of(arguments: argparse.Namespace) -> Hyperparameters:
    """The hyperparameters that a `hyperparameter_parser` read; raises `UsageError`."""
    names = [entry.name for entry in dataclasses.fields(Hyperparameters)]
    given = {flag_name(name): getattr(arguments, name) for name in names}
    return from_strings({name: text for name, text in given.items() if text is not None})


def markdown_table() -> str:
    """The table of docs/hyperparameters.md."""
    hints = get_type_hints(Hyperparameters)
    rows = ["| name | type | values | default | meaning |", "|---|---|---|---|---|"]
    for entry in dataclasses.fields(Hyperparameters):
        valid = "true, false" if hints[entry.name] is bool else str(entry.metadata["range"])
        default = str(entry.default).lower() if hints[entry.name] is bool else entry.default
        kind = hints[entry.name].__name__
        rows.append(
            f"| `{flag_name(entry.name)}` | {kind} | {valid} | `{default}` | {entry.metadata['help']} |"
        )
    return "\n".join(rows) + "\n"
