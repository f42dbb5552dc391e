#!/usr/bin/env python3
"""Run the debugger's rules on a finished job and write its report, wherever the job ran.

  python scripts/analyze_debug.py runs/latest
  python scripts/analyze_debug.py s3://bucket/out/dog-breeds-…          # a SageMaker job's prefix
  python scripts/analyze_debug.py a-trial --output analysis             # tensors that anybody's smdebug wrote

Becomes `analyze.py` in the training image, or as a process. Exit codes: 0 nothing was found, 3 something was;
1 it could not be done, 2 wrong usage.
"""

import argparse
import os
import sys
from pathlib import Path

from launcher import analysis, backends, command_line, job_output, requests
from launcher import arguments as command


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_backend(parser)
    parser.add_argument(
        "place", type=command.place, metavar="s3://BUCKET/PREFIX|FOLDER", help="a job's, or a trial's"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the report goes; default: runs/analysis/<its name>",
    )
    parser.add_argument("--image", default=requests.TRAINING_IMAGE, help="what to run in")
    return parser.parse_args()


def main() -> int:
    """Find the job's output, fetch it if need be, and become `analyze.py`."""
    arguments = parse_arguments()
    output = arguments.output or Path("runs/analysis", job_output.name_of(arguments.place))
    found = job_output.find(arguments.place, output.resolve())
    backend = backends.choose(arguments.backend, command_line.tell)
    output.mkdir(parents=True, exist_ok=True)
    program = analysis.analysis_command(
        backend.name, image=arguments.image, found=found, report=output.resolve()
    )
    os.execvp(program[0], program)  # noqa: S606 - an argument list, no shell


if __name__ == "__main__":
    sys.exit(command_line.run(main))
