#!/usr/bin/env python3
"""Push images to a registry, and refuse what SageMaker would refuse.

  python scripts/push_images.py dog-breeds-serve:latest --registry ecr --tag 1.0
  python scripts/push_images.py dog-breeds-train dog-breeds-serve --registry 127.0.0.1:5000

Prints NAME:TAG@DIGEST of each. ECR repositories are created if needed, and the login is ECR's own; for any
other registry `docker login` comes first.
"""

import argparse
import sys

from launcher import docker_engine
from launcher.command_line import run, tell
from launcher.registry import PUSH_TIMEOUT, find_image, open_registry, push_image


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="local images")
    parser.add_argument(
        "--registry",
        default="ecr",
        help="ecr (the account and region of the AWS session), ACCOUNT.dkr.ecr.REGION.amazonaws.com, "
        "or HOST[:PORT][/PATH] (default: %(default)s)",
    )
    parser.add_argument("--tag", default="latest", help="the tag there (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Check every image before the first is pushed; print the digests."""
    arguments = parse_arguments()
    engine = docker_engine.connect(timeout=PUSH_TIMEOUT)
    images = [(name, find_image(engine, name)) for name in arguments.images]
    registry = open_registry(arguments.registry, engine)
    for name, image in images:
        repository = registry.repository(name)
        tell(f"Pushing {name} to {registry.host}/{repository}:{arguments.tag}")
        print(push_image(image, registry, repository, arguments.tag), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
