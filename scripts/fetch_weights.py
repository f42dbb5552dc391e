#!/usr/bin/env python3
"""Fetch ResNet50's ImageNet weights into docker/weights, from where the training image takes them.

python scripts/fetch_weights.py               fails when they cannot be had
python scripts/fetch_weights.py --optional    says so and ends well (the demo has another backbone)
"""

import argparse
import sys
from pathlib import Path

from launcher.command_line import run, tell
from launcher.downloads import UnreachableError
from launcher.errors import WorkFailed
from launcher.weights import RESNET50_URL, fetch_weights

WEIGHTS_FOLDER = Path(__file__).resolve().parents[1] / "docker" / "weights"
PATIENCE_SECONDS = 10.0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Fetch ResNet50's ImageNet weights.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--url", default=RESNET50_URL, help="the file, or a mirror of it")
    parser.add_argument("--output", type=Path, default=WEIGHTS_FOLDER, help="the folder it goes into")
    parser.add_argument("--optional", action="store_true", help="end well when the server cannot be reached")
    return parser.parse_args()


def main() -> int:
    """Parse, call, report."""
    arguments = parse_arguments()
    patience = PATIENCE_SECONDS if arguments.optional else None
    try:
        file, fetched = fetch_weights(arguments.url, arguments.output, patience=patience)
    except UnreachableError as error:
        if not arguments.optional:
            raise
        tell(f"ResNet50's weights were not fetched: {error}")
        return 0
    except OSError as error:
        raise WorkFailed(str(error)) from error
    print(file if fetched else f"{file} (there already)")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
