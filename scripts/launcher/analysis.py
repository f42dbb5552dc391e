"""The command that runs the training wing's `analyze.py` here. Called by `analyze_debug.py`."""

from pathlib import Path

from launcher import training_programs
from launcher.job_output import JobOutput


def analysis_command(backend: str, *, image: str, found: JobOutput, report: Path) -> list[str]:
    """Return the command that runs the rules on a job's output and writes its report to a folder."""
    folders = {
        flag: folder for flag, folder in (("--data", found.data), ("--tensors", found.tensors)) if folder
    }
    options = [part for flag, folder in folders.items() for part in (flag, str(folder))]
    options += ["--output", str(report)]
    return training_programs.command(
        backend, "analyze.py", options, image=image, reads=list(folders.values()), writes=report
    )
