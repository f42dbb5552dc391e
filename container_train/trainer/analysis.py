"""The rules and the report for a job that has ended, also for a trial that somebody else has saved.

Called by analyze.py.
"""

import shutil
import sys
from pathlib import Path

from trainer.failures import DataError
from trainer.findings import Finding, read_findings, write_findings
from trainer.report import write_report
from trainer.rules import RULES, Watchers
from trainer.trial_steps import saved_steps, trials_below

_LARGEST = 50_000_000  # bytes of a file that is taken over from a job's results


def analyse(data: Path | None, tensors: Path | None, output: Path) -> list[Finding]:
    """Run the rules, and write findings.json and report/report.html to `output`; returns what was found.

    `data` is a job's output/data, whose files are taken over; `tensors` a trial or a folder of trials, by
    default the one in `data`. Raises `DataError` where there is neither.
    """
    if tensors is None and data is not None and (data / "tensors").is_dir():
        tensors = data / "tensors"
    trials = trials_below(tensors) if tensors is not None else []
    if tensors is not None and not trials:
        raise DataError(f"{tensors} holds no tensors: smdebug's trials have a folder `events`")
    if data is None and not trials:
        raise DataError("there is nothing to analyse: neither a job's results nor its tensors")
    output.mkdir(parents=True, exist_ok=True)
    if data is not None and data.resolve() != output.resolve():
        _take_over(data, output)
    names = {rule.__name__ for rule in RULES}
    findings = [finding for trial in trials for finding in findings_of(trial)]
    findings += [each for each in _told(output) if each.rule not in names]  # which only a job can find
    write_findings(output, findings)
    write_report(output, tensors)
    return findings


def findings_of(trial: Path) -> list[Finding]:
    """What the rules find in one trial, in the order of its steps."""
    watchers = Watchers(trial.name)
    return [finding for step in saved_steps(trial) for finding in watchers.look(step)]


def _told(folder: Path) -> list[Finding]:
    """What the job itself has found; nothing, with a warning, of one that was killed over writing it."""
    try:
        return read_findings(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"warning: findings.json of the job is left out: {error}", file=sys.stderr, flush=True)
        return []


def _take_over(data: Path, output: Path) -> None:
    """Copy the results that the report shows."""
    for file in sorted(data.glob("*")):
        if file.suffix in {".json", ".csv"} and file.is_file() and file.stat().st_size < _LARGEST:
            shutil.copy(file, output)
