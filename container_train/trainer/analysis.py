"""The rules and the report for a job that has ended, also for a trial that somebody else has saved.

Called by analyze.py.
"""

import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from trainer.failures import DataError
from trainer.findings import Finding, findings_told, write_findings
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
    findings = [finding for trial in trials for finding in findings_of(trial)]
    seen = (
        {rule.__name__ for rule in RULES} if _from_the_beginning(trials) else {each.rule for each in findings}
    )
    findings += [each for each in findings_told(output) if each.rule not in seen]  # which only a job can find
    write_findings(output, findings)
    write_report(output, tensors)
    return findings


def findings_of(trial: Path) -> list[Finding]:
    """What the rules find in one trial, in the order of its steps."""
    watchers = Watchers(trial.name)
    return [finding for step in saved_steps(trial) for finding in watchers.look(step)]


def _from_the_beginning(trials: Sequence[Path]) -> bool:
    """Whether the trials hold all of a training, and not the part that one of several containers has done."""
    firsts = [step.number for trial in trials for step in islice(saved_steps(trial), 1)]
    return bool(firsts) and not any(firsts)


def _take_over(data: Path, output: Path) -> None:
    """Copy the results that the report shows."""
    for file in sorted(data.glob("*")):
        if file.suffix in {".json", ".csv"} and file.is_file() and file.stat().st_size < _LARGEST:
            shutil.copy(file, output)
