#!/usr/bin/env python3
"""Fetch the photographs, look into them, and bring them to S3.

  python scripts/prepare_data.py                                   # dogImages.zip → data/dogImages
  python scripts/prepare_data.py --data ../dogs --scan             # what a job would leave out, and why
  python scripts/prepare_data.py --data ../dogs --scan --upload    # to the project's bucket
  python scripts/prepare_data.py --data ../dogs --upload --to s3://bucket/dogs --dry-run
  python scripts/prepare_data.py --draw data/drawn                 # a dozen classes of drawings

--scan writes quarantine.csv, duplicates.csv and classes.csv. --upload leaves out what --scan could not read,
sends only what is not there, removes there what is no longer here, and keeps manifest.json beside the files,
with the SHA-256 of each; after Ctrl-C, a cut network or a kill the same command goes on. The copy of another
folder is not replaced: --to. The last line on stdout is the URI for launch_training.py --data.
"""

import argparse
import sys
from pathlib import Path

from launcher import arguments as command
from launcher import backends, bounds, data_check, data_upload, requests
from launcher.command_line import run, tell
from launcher.datasets import DOG_IMAGES_CLASSES, DOG_IMAGES_URL, fetch_dog_images, read_image_folder
from launcher.drawings import draw_picture_set
from launcher.errors import SettingsError


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--data", type=Path, metavar="FOLDER", help="photographs that are here; fetch nothing")
    which.add_argument("--draw", type=Path, metavar="FOLDER", help="draw pictures there and fetch nothing")
    which.add_argument("--check", type=Path, metavar="FOLDER", help="only say whether it can be trained on")
    fetched = parser.add_argument_group("what is fetched")
    fetched.add_argument("--url", default=DOG_IMAGES_URL, help="the archive, or a mirror of it")
    fetched.add_argument(
        "--output", type=Path, default=Path("data/dogImages"), metavar="FOLDER", help="the unpacked folder"
    )
    fetched.add_argument(
        "--classes",
        type=bounds.positive,
        default=DOG_IMAGES_CLASSES,
        help="how many classes the archive must have",
    )
    looked = parser.add_argument_group("looking into every picture")
    looked.add_argument("--scan", action="store_true", help="in the training image, or as a process")
    looked.add_argument(
        "--reports", type=Path, metavar="FOLDER", help="of the scan; default: runs/data/<name of the folder>"
    )
    command.add_backend(looked)
    looked.add_argument("--image", default=requests.TRAINING_IMAGE, help="what to look with")
    sent = parser.add_argument_group("bringing them to S3")
    sent.add_argument("--upload", action="store_true", help="make the copy there like the folder here")
    sent.add_argument(
        "--to",
        type=command.place,
        metavar="s3://BUCKET/PREFIX",
        help="default: data/<name of the folder> in the bucket",
    )
    command.add_settings(sent)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the requests of --upload and send nothing"
    )
    found, given = command.parse_given(parser)
    if not found.upload:
        command.refuse(parser, given & {"to", "settings", "dry_run"}, "only with --upload")
    return found


def main() -> int:
    """Parse, have the folder, look into it, send it."""
    arguments = parse_arguments()
    if arguments.check:
        print(read_image_folder(arguments.check))
        return 0
    folder = have(arguments)
    unreadable = scan(arguments, folder) if arguments.scan else frozenset()
    if arguments.upload:
        data_upload.upload(
            folder, arguments.to, command.account_of(arguments), without=unreadable, dry_run=arguments.dry_run
        )
    return 0


def have(arguments: argparse.Namespace) -> Path:
    """Return the folder of photographs, fetched or drawn if need be, and say what is in it."""
    if arguments.dry_run and not arguments.data:
        raise SettingsError("--dry-run is for --upload of a --data FOLDER")
    if arguments.data:
        images, made = read_image_folder(arguments.data), True
    elif arguments.draw:
        images, made = draw_picture_set(arguments.draw)
    else:
        images, made = fetch_dog_images(arguments.url, arguments.output, classes=arguments.classes)
    told = str(images) if made else f"{images} (there already)"
    if arguments.dry_run:  # whose requests alone go to stdout
        tell(told)
    else:
        print(told, flush=True)
    return images.root


def scan(arguments: argparse.Namespace, folder: Path) -> frozenset[str]:
    """Look into every picture; return those that cannot be read."""
    return data_check.check(
        backends.choose(arguments.backend, tell).name,
        image=arguments.image,
        data=folder,
        reports=arguments.reports or Path("runs/data", folder.resolve().name),
    )


if __name__ == "__main__":
    sys.exit(run(main))
