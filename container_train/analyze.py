"""Run the rules on what a finished job left behind, and write its report: a program of its own.

    python analyze.py --data runs/latest/output/data --tensors runs/latest/output/tensors --output analysis

Prints a line for each finding and the report's place. Exit codes: 0 nothing was found, 3 something was,
1 the work failed, 2 a setting is wrong.
"""

import argparse
import sys
from pathlib import Path

from trainer.failures import FAILED, SUCCESS, UsageError, run_program
from trainer.findings import Finding
from trainer.termination import Stop

FOUND = 3


def parse_arguments() -> argparse.Namespace:
    """Read the command line; raises UsageError when there is nothing to analyse."""
    parser = argparse.ArgumentParser(description="Run the rules on a finished job and write its report.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the job's output/data")
    parser.add_argument("--tensors", type=Path, metavar="DIR", help="the trial that smdebug wrote")
    parser.add_argument("--output", type=Path, metavar="DIR", required=True, help="where the report goes")
    arguments = parser.parse_args()
    if not (arguments.data or arguments.tensors):
        raise UsageError("nothing to analyse: give --data, --tensors or both")
    for folder in (arguments.data, arguments.tensors):
        if folder and not folder.is_dir():
            raise UsageError(f"there is no folder {folder}")
    return arguments


def main() -> int:
    """Parse, analyse, print what was found."""
    results: list[list[Finding]] = []

    def program(_stop: Stop) -> None:
        arguments = parse_arguments()
        from trainer import analysis  # noqa: PLC0415 - smdebug takes seconds, a wrong setting should not

        found = analysis.analyse(arguments.data, arguments.tensors, arguments.output)
        for finding in found:
            print(finding.line())
        if not found:
            print("findings: none")
        results.append(found)
        print(f"report: {arguments.output / 'report/report.html'}")

    code = run_program(program, failure_file=None)
    if code == SUCCESS and not results:  # SIGTERM: that nothing was found is not known
        return FAILED
    return FOUND if code == SUCCESS and results[0] else code


if __name__ == "__main__":
    sys.exit(main())
