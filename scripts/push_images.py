#!/usr/bin/env python3
"""Push images to a registry, and refuse what SageMaker would refuse.

  python scripts/push_images.py                                    # both images, to ECR
  python scripts/push_images.py dog-breeds-serve:latest --tag 1.0
  python scripts/push_images.py dog-breeds-train dog-breeds-serve --registry 127.0.0.1:5000

Prints NAME:TAG@DIGEST of each. In ECR a tag never moves; by default it is the revision that the images are
built from, and what is there already is not sent again. Repositories are made as setup_account.py makes them,
and the login is ECR's own; for any other registry `docker login` comes first.
"""

import argparse
import sys
from typing import Any

from launcher import arguments as command
from launcher import docker_engine, ecr, requests
from launcher.command_line import run, tell
from launcher.registry import PUSH_TIMEOUT, Registry, find_image, open_registry, push_image


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    both = [requests.TRAINING_IMAGE, requests.SERVING_IMAGE]
    parser.add_argument("images", nargs="*", default=both, metavar="IMAGE", help="local images")
    parser.add_argument(
        "--registry",
        default=ecr.NAME,
        metavar="HOST[:PORT][/PATH]",
        help="ecr is that of the settings' account and region",
    )
    parser.add_argument("--tag", help="the tag there; default: in ECR the settings', elsewhere latest")
    command.add_settings(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the requests to ECR and push nothing")
    found, given = command.parse_given(parser)
    if not ecr.is_ecr(found.registry):
        command.refuse(parser, given & {"settings", "dry_run"}, "only ECR is the account's")
    return found


def main() -> int:
    """Check every image before the first is pushed; print the digests."""
    arguments = parse_arguments()
    if arguments.dry_run:
        return show(arguments)
    engine = docker_engine.connect(timeout=PUSH_TIMEOUT)
    images = [(name, find_image(engine, name)) for name in arguments.images]
    registry, tag = place_of(arguments, images, engine)
    for name, image in images:
        repository = registry.repository(name)
        tell(f"Pushing {name} to {registry.host}/{repository}:{tag}")
        print(push_image(image, registry, repository, tag), flush=True)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print what is asked of ECR, and say what docker then pushes."""
    account = command.account_of(arguments)
    calls = ecr.calls(arguments.registry, account, arguments.images)
    command.show([call.shown for call in calls])
    for name in arguments.images:
        tell(f"then docker pushes {name}, tagged {arguments.tag or account.tag}, unless that is there")
    return 0


def place_of(
    arguments: argparse.Namespace, images: list[tuple[str, Any]], engine: Any
) -> tuple[Registry, str]:
    """Return where the images go, and their tag there."""
    if not ecr.is_ecr(arguments.registry):
        return open_registry(arguments.registry, engine), arguments.tag or "latest"
    account = command.account_of(arguments)
    for name, image in images:
        ecr.check_architecture(account, name, image)
    tag = ecr.tag_of(account, images, arguments.tag)
    return ecr.open_ecr(arguments.registry, account), tag


if __name__ == "__main__":
    sys.exit(run(main))
