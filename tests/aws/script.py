"""Runs a script of the project in this process, as a command line would: much faster than one of its own."""

import contextlib
import io
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@dataclass(frozen=True)
class Ended:
    """How a script ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def run(name: str, *arguments: str) -> Ended:
    """Run scripts/<name>.py; what it does not catch is raised."""
    output, said = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(said),
    ):
        patch.setattr(sys, "argv", [name, *arguments])
        patch.setattr("launcher.command_line.signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    return Ended(int(str(ended.value.code)), output.getvalue(), said.getvalue())
