#!/usr/bin/env python3
"""Run train_and_deploy.ipynb from top to bottom and keep its outputs in it, without photographs.

  DATA=../dogs BACKEND=process python scripts/run_notebook.py

What the notebook's first cell reads of the environment decides where, and on what. Exit code 1 when a cell
fails; the notebook is left as it was then.
"""

import argparse
import sys

import nbformat
from nbclient.exceptions import CellExecutionError

from launcher import arguments as command
from launcher import command_line, notebook
from launcher.errors import WorkFailed


def parse_arguments() -> argparse.Namespace:
    """Read the command line, which has nothing but --help."""
    return command.parser(__doc__).parse_args()


def main() -> int:
    """Run, clean, write."""
    parse_arguments()
    book, root = notebook.read(notebook.FILE), notebook.FILE.parent
    try:
        notebook.execute(book, root)
    except CellExecutionError as error:
        raise WorkFailed(str(error)) from None
    notebook.make_presentable(book, root)
    nbformat.write(book, notebook.FILE)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
