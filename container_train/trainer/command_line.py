"""The command line of the entry scripts: hyperparameters and folders.

Imports neither torch nor OpenVINO, which take seconds, so that help and a mistake are answered at once.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainer.config import Hyperparameters, hyperparameter_parser, hyperparameters_of
from trainer.locations import Locations

_FOLDERS = {
    "data": "folder with train/, valid/ and test/, each with one folder of pictures per class",
    "pretrained": "folder with weight files, searched first",
    "model_dir": "folder that receives the model artifact",
    "output_data_dir": "folder that receives predictions and reports",
    "checkpoints": "folder from which an interrupted run continues",
    "cache": "folder of features and file checks that later runs use again",
}


def read_command_line(
    description: str, arguments: Sequence[str], defaults: Locations
) -> tuple[Hyperparameters, Locations]:
    """Hyperparameters and folders of an entry script; raises `UsageError`."""
    parser = hyperparameter_parser(description)
    group = parser.add_argument_group("folders")
    for name, text in _FOLDERS.items():
        default: Path = getattr(defaults, name)
        flag = "--" + name.replace("_", "-")
        group.add_argument(
            flag, type=Path, default=default, metavar="DIR", help=f"{text} (default: %(default)s)"
        )
    parsed = parser.parse_args(arguments)
    folders = {name: getattr(parsed, name) for name in _FOLDERS}
    return hyperparameters_of(parsed), replace(defaults, **folders)
