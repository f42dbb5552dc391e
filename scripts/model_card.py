#!/usr/bin/env python3
"""Write a model's card, in the form of Hugging Face's, from what its artifact.json says.

  python scripts/model_card.py runs/latest
  python scripts/model_card.py runs/latest --output model_card.md
  python scripts/model_card.py s3://bucket/out/dog-breeds-…/output/model.tar.gz

A model is an archive, a job's folder, s3://… or a training job's name on SageMaker. An artifact.json that was
altered gets no card.
"""

import argparse
import sys
from pathlib import Path

from launcher import arguments as command
from launcher import artifact, command_line, model_card
from launcher.model_source import ModelSource


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("model", type=command.model, metavar="MODEL")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="default: it is printed")
    command.add_settings(parser)
    return parser.parse_args()


def main() -> int:
    """Write the card, or print it."""
    arguments = parse_arguments()
    source = ModelSource(command.account_of(arguments), command_line.tell, send=True)
    card = model_card.write(artifact.read(source.description(arguments.model)))
    if arguments.output is None:
        print(card, end="")
        return 0
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(card, encoding="utf-8")
    print(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
