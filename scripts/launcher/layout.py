"""What a training job finds below /opt/ml before it starts: its inputs, its settings, its folders.

Both local backends ask here for the folders that a request names; `jobs` lays a job's own folder out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher import requests
from launcher.errors import SettingsError
from launcher.requests import Request


def channels(request: Request) -> dict[str, Path]:
    """Return the folder of each input channel; SettingsError when one is not a folder on this machine."""
    folders = {}
    for channel in request.get("InputDataConfig", []):
        folder = requests.local_path(channel["DataSource"]["S3DataSource"]["S3Uri"])
        if not folder.is_dir():
            raise SettingsError(f"the channel {channel['ChannelName']!r} has no folder {folder}")
        folders[channel["ChannelName"]] = folder
    return folders


def checkpoint_folder(request: Request) -> Path | None:
    """Return the folder of the request's CheckpointConfig, made if need be; None when it has none.

    Raises SettingsError when it is not on this machine or cannot be made.
    """
    if "CheckpointConfig" not in request:
        return None
    try:
        folder = requests.local_path(request["CheckpointConfig"]["S3Uri"])
        folder.mkdir(parents=True, exist_ok=True)
    except SettingsError as error:
        raise SettingsError(f"--checkpoints: {error}") from None
    except OSError as error:
        raise SettingsError(f"--checkpoints: no folder can be made at {folder}: {error.strerror}") from None
    return folder.resolve()


def write(request: Request, folders: Mapping[str, Path], checkpoints: Path | None) -> None:
    """Make each host's folders, and the one folder of checkpoints that all of them share."""
    for host, folder in folders.items():
        for part in ("input/config", "model", "output/data"):
            (folder / part).mkdir(parents=True)
        for name, content in _configs(request, host, list(folders)).items():
            (folder / "input/config" / f"{name}.json").write_text(json.dumps(content, indent=1))
    job = next(iter(folders.values()))
    if checkpoints is None:
        (job / "checkpoints").mkdir()
    else:
        (job / "checkpoints").symlink_to(checkpoints, target_is_directory=True)


# The files of a job whose request has these parts, each with just that part: what smdebug reads.
_DEBUGGER = {"DebugHookConfig": "debughookconfig", "ProfilerConfig": "profilerconfig"}


def _configs(request: Request, host: str, hosts: Sequence[str]) -> dict[str, object]:
    """Return the files that the platform puts into /opt/ml/input/config, without `.json`.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    """
    group = {"instance_group_name": "homogeneousCluster", "instance_type": "local", "hosts": hosts}
    return {
        "hyperparameters": request["HyperParameters"],
        "inputdataconfig": {
            channel["ChannelName"]: {
                "TrainingInputMode": request["AlgorithmSpecification"]["TrainingInputMode"],
                "S3DistributionType": channel["DataSource"]["S3DataSource"]["S3DataDistributionType"],
                "RecordWrapperType": "None",
            }
            for channel in request.get("InputDataConfig", [])
        },
        "resourceconfig": {
            "current_host": host,
            "hosts": hosts,
            "current_instance_type": "local",
            "current_group_name": "homogeneousCluster",
            "instance_groups": [group],
            "network_interface_name": "eth0",
        },
        **{file: request[key] for key, file in _DEBUGGER.items() if key in request},
    }
