#!/usr/bin/env python3
"""From pictures to named breeds: train, deploy, ask the endpoint about the whole test split.

  python scripts/demo.py --data ../dogs --backbone efficientnet_lite0

Exit code 1 when a stage failed, or when the endpoint is less accurate than the job had measured.
"""

import argparse
import sys

from launcher import arguments as command
from launcher import backends, bounds, command_line, demonstration


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_backend(parser)
    command.add_training(parser, image_flag="--train-image")
    command.add_serving(parser, image_flag="--serve-image")
    parser.add_argument("--examples", type=bounds.positive, default=6, metavar="N", help="pictures to show")
    parser.add_argument(
        "--examples-seed", type=bounds.whole(0), default=0, metavar="N", help="which pictures to show"
    )
    parser.add_argument("--clients", type=bounds.positive, default=4, metavar="N", help="requests at a time")
    parser.add_argument(
        "--stage",
        type=command.stage,
        action="append",
        default=[],
        metavar="NAME=SECONDS",
        help="time of a stage before this program, to show with the others; repeatable",
    )
    return parser.parse_args()


def main() -> int:
    """Run the demonstration."""
    arguments = parse_arguments()
    request = command.training_request(arguments)
    backend = backends.choose(
        arguments.backend, command_line.tell, memory=arguments.memory, cpus=arguments.cpus
    )
    demonstration.run(
        backend,
        request,
        data=arguments.data,
        runs=arguments.output,
        serve_image=arguments.serve_image,
        examples=arguments.examples,
        seed=arguments.examples_seed,
        clients=arguments.clients,
        stages=demonstration.Stages(arguments.stage),
        on_line=command_line.tell,
    )
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
