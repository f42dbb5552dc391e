"""Look into every picture of a data folder before it is trained on: a program of its own.

    python check_data.py --data ../dogs --output found

Writes quarantine.csv (files that cannot be read, and why), duplicates.csv (content that stands more than
once) and classes.csv (pictures of each class and split); says on stderr what a person should look at, and on
stdout what there is. Exit codes: 0 it can be trained on, 1 it cannot, 2 a setting is wrong.
"""

import argparse
import sys
from pathlib import Path

from trainer.data import load_splits
from trainer.failures import run_program
from trainer.termination import Stop

SPLITS = ("train", "valid", "test")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Look into every picture of a data folder.")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="train/, valid/ and test/")
    parser.add_argument("--output", type=Path, metavar="DIR", required=True, help="where the reports go")
    parser.add_argument(
        "--max-unreadable",
        type=float,
        metavar="SHARE",
        default=1,
        help="of a split's files that may be unreadable: 1, and they are only listed",
    )
    return parser.parse_args()


def program(_stop: Stop) -> None:
    """Parse, look, print what there is."""
    arguments = parse_arguments()
    splits = load_splits(
        arguments.data,
        SPLITS,
        max_unreadable=arguments.max_unreadable,
        reports=arguments.output,
        cache=arguments.output,
    )
    counts = ", ".join(f"{len(split.files):,} {name}" for name, split in splits.items())
    left_out = sum(len(split.quarantined) for split in splits.values())
    print(f"{arguments.data}: {len(splits['train'].classes)} classes, {counts} pictures, {left_out} left out")
    print(f"reports: {arguments.output}")


if __name__ == "__main__":
    sys.exit(run_program(program, failure_file=None))
