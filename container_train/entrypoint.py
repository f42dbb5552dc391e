"""The training image's entry point: `docker run IMAGE train`, as SageMaker starts it.

`train` becomes the sagemaker-training toolkit, which keeps process 1 and so receives the platform's SIGTERM.
Any other command is run as it stands, for a look inside.
"""

import os
import sys

OTHER_IMAGE = ("serve", "predict")


def main(arguments: list[str]) -> int:
    """Become the command in `arguments`, by default `train`; returns (2) only when that is impossible."""
    command = arguments or ["train"]
    if command[0] in OTHER_IMAGE:
        print(f"this is the training image: '{command[0]}' belongs to the serving image", file=sys.stderr)
        return 2
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the container's own argument
    except OSError as error:
        print(f"cannot run '{command[0]}': {error.strerror}; this image understands 'train'", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
