"""What a rule or the profiler has found: where, the value against its threshold, and what to do about it.

Standard library only. `findings.json` in the output folder holds them; the log and the report show them. One
beside the checkpoints holds what the rules have found so far, for the job that goes on in another container.
"""

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "findings.json"

# The most serious first: what makes a training worthless, what it could do better, what costs time.
_BY_SERIOUSNESS = (
    "ExplodingTensor", "LearningRateTooHigh", "InputsNotNormalised", "PoorInitialisation",
    "VanishingGradient", "LossNotDecreasing", "SaturatedOrDeadActivation", "UpdateRatio", "Underfit",
    "Overfit", "ClassImbalance", "TensorsMissing", "LoaderBottleneck", "CheckpointTime", "LowGPUUtilisation",
    "StepOutliers", "MemoryHeadroom",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One rule's verdict.

    `step` counts optimiser steps from 0, `None` where a finding is about the whole run; `tensor` names what
    was looked at, a tensor or a figure; `says` is the verdict in words, `advice` what to do about it.
    """

    rule: str
    step: int | None
    tensor: str
    value: float
    threshold: float
    says: str
    advice: str

    def line(self) -> str:
        """The finding as a line of the log."""
        where = "" if self.step is None else f" at step {self.step}"
        return f"finding: {self.rule}{where}: {self.says}. {self.advice}"


def write_findings(folder: Path, findings: Iterable[Finding]) -> None:
    """Write `findings.json` in one move: a list of objects, the most serious first.

    A value that is no finite number is its name as text. Raises `OSError`.
    """
    entries = [
        {name: _plain(value) for name, value in asdict(finding).items()}
        for finding in sorted(findings, key=_seriousness)
    ]
    text = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False)
    partial = folder / f"{FILE}.partial"
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(folder / FILE)


def read_findings(folder: Path) -> list[Finding]:
    """The findings that `write_findings` wrote there; none where there is no such file."""
    file = folder / FILE
    if not file.is_file():
        return []
    entries = json.loads(file.read_text(encoding="utf-8"))
    return [
        Finding(**{**each, "value": float(each["value"]), "threshold": float(each["threshold"])})
        for each in entries
    ]


def findings_told(folder: Path) -> list[Finding]:
    """The same; nothing, with a warning, where the file is damaged."""
    try:
        return read_findings(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"warning: {folder / FILE} is left out: {error}", file=sys.stderr, flush=True)
        return []


def _seriousness(finding: Finding) -> int:
    """Its place; a rule that is not known comes last."""
    known = finding.rule in _BY_SERIOUSNESS
    return _BY_SERIOUSNESS.index(finding.rule) if known else len(_BY_SERIOUSNESS)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
