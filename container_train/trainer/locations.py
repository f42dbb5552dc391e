"""Where a training job finds its data and leaves its results: the /opt/ml contract.

Read from the SM_* variables that sagemaker-training sets; without it from SAGEMAKER_BASE_DIR.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

BASE = "/opt/ml"


@dataclass(frozen=True)
class Locations:
    """The folders of one job, and its failure file (`None` outside a job)."""

    data: Path
    pretrained: Path
    model_dir: Path
    output_data_dir: Path
    failure_file: Path | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Locations":
        """The folders as the platform laid them out."""
        base = Path(environment.get("SAGEMAKER_BASE_DIR", BASE))

        def folder(variable: str, *parts: str) -> Path:
            return Path(environment.get(variable) or base.joinpath(*parts))

        output = environment.get("SM_OUTPUT_DIR")
        return cls(
            data=folder("SM_CHANNEL_TRAINING", "input", "data", "training"),
            pretrained=folder("SM_CHANNEL_PRETRAINED", "input", "data", "pretrained"),
            model_dir=folder("SM_MODEL_DIR", "model"),
            output_data_dir=folder("SM_OUTPUT_DATA_DIR", "output", "data"),
            failure_file=Path(output, "failure") if output else None,
        )


_HELP = {
    "data": "folder with train/, valid/ and test/, each with one folder of pictures per class",
    "pretrained": "folder with weight files, searched first",
    "model_dir": "folder that receives the model artifact",
    "output_data_dir": "folder that receives predictions and reports",
}


def add_location_arguments(parser: argparse.ArgumentParser, defaults: Locations) -> None:
    """Add --data, --pretrained, --model-dir and --output-data-dir."""
    group = parser.add_argument_group("folders")
    for name, text in _HELP.items():
        default: Path = getattr(defaults, name)
        flag = "--" + name.replace("_", "-")
        group.add_argument(
            flag, type=Path, default=default, metavar="DIR", help=f"{text} (default: %(default)s)"
        )


def locations_of(arguments: argparse.Namespace, defaults: Locations) -> Locations:
    """The folders after the command line had its say."""
    chosen = {field.name: getattr(arguments, field.name, None) for field in fields(Locations)}
    return Locations(**{**chosen, "failure_file": defaults.failure_file})
