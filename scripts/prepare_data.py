#!/usr/bin/env python3
"""Fetch the photographs (`make data`), or draw a small picture set where there are none.

python scripts/prepare_data.py                      dogImages.zip → data/dogImages
python scripts/prepare_data.py --draw data/drawn    a dozen classes of drawings
"""

import argparse
import sys
from pathlib import Path

from launcher.command_line import run
from launcher.datasets import DOG_IMAGES_CLASSES, DOG_IMAGES_URL, fetch_dog_images, read_image_folder
from launcher.drawings import draw_picture_set


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Fetch dogImages.zip, or draw a small picture set.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--url", default=DOG_IMAGES_URL, help="the archive, or a mirror of it")
    parser.add_argument("--output", type=Path, default=Path("data/dogImages"), help="the unpacked folder")
    parser.add_argument(
        "--classes", type=int, default=DOG_IMAGES_CLASSES, help="how many classes the archive must have"
    )
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="draw pictures there and fetch nothing")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="only say whether it can be trained on")
    return parser.parse_args()


def main() -> int:
    """Parse, call, report."""
    arguments = parse_arguments()
    if arguments.check:
        images, made = read_image_folder(arguments.check), True
    elif arguments.draw:
        images, made = draw_picture_set(arguments.draw)
    else:
        images, made = fetch_dog_images(arguments.url, arguments.output, classes=arguments.classes)
    print(images if made else f"{images} (there already)")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
