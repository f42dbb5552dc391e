"""The training image's entry point: `docker run IMAGE train`, as SageMaker starts it.

`train` becomes the sagemaker-training toolkit, which keeps process 1 and so receives the platform's SIGTERM.
It is not started where it could not report a failure: when the toolkit cannot write its failure file, it ends
with exit code 0 whatever went wrong. Any other command is run as it stands, for a look inside.
"""

import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryFile

OTHER_IMAGE = ("serve", "predict")
CONFIG = ("hyperparameters.json", "inputdataconfig.json", "resourceconfig.json")


def main(arguments: list[str]) -> int:
    """Become the command in `arguments`, by default `train`; returns (1 or 2) only when that cannot be."""
    command = arguments or ["train"]
    if command[0] in OTHER_IMAGE:
        print(f"this is the training image: '{command[0]}' belongs to the serving image", file=sys.stderr)
        return 2
    if command == ["train"] and (
        obstacle := find_obstacle(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")))
    ):
        print(f"error: {obstacle}", file=sys.stderr)
        return 1
    if command == ["train"]:  # kept until the toolkit listens: the first process would lose it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the container's own argument
    except OSError as error:
        print(f"cannot run '{command[0]}': {error.strerror}; this image understands 'train'", file=sys.stderr)
        return 2


def find_obstacle(base: Path) -> str | None:
    """Why no training job can run under `base`, in one sentence; makes the folders that results go to.

    Files that are missing are also named in the failure file, which the platform shows.
    """
    for folder in (base / "output", base / "model"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        except OSError as error:
            return (
                f"{folder} cannot be written by user {os.getuid()} ({error.strerror}): "
                "mount a folder there that this user may write to"
            )
    config = base / "input" / "config"
    missing = [name for name in CONFIG if not (config / name).is_file()]
    if not missing:
        return None
    obstacle = (
        f"{config} lacks {', '.join(missing)}, which SageMaker writes before it starts a job; "
        "to run a job on this machine use `make train` or scripts/launch_training.py of the checkout"
    )
    (base / "output" / "failure").write_text(obstacle + "\n", encoding="utf-8")
    return obstacle


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
