"""`python -m predictor.selftest FOLDER`: can this artifact be served here? Exit code 0 or 1.

Started by `predictor.supervisor` as a process of its own, so that the engine's memory is given back.
"""

import sys
from pathlib import Path

from predictor.artifact import ArtifactError
from predictor.model import load_model
from predictor.settings import worker_threads


def main(folder: Path) -> int:
    """Check the files, compile the network, and compare its answers with the stored ones."""
    try:
        load_model(folder, threads=worker_threads())
    except ArtifactError as error:
        print(f"serve: the model cannot be served: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
