"""What a job's rules and its profiler have found, as the job's folder says it; `trainer.findings` writes it.

Called by `jobs` and by `training`, after a job that succeeded and after one that did not.
"""

import json
from dataclasses import dataclass
from pathlib import Path

DATA = "output/data"  # below a job's folder
FINDINGS = f"{DATA}/findings.json"
REPORT = f"{DATA}/report/report.html"


@dataclass(frozen=True)
class Finding:
    """A rule, where it found something (an optimiser step, or the whole run), and what."""

    rule: str
    step: int | None
    says: str

    def __str__(self) -> str:
        where = "" if self.step is None else f" at step {self.step}"
        return f"{self.rule}{where}: {self.says}"


def read(data: Path) -> list[Finding] | None:
    """Return the findings in a job's output folder; None where there are none, or only half a file."""
    try:
        entries = json.loads((data / Path(FINDINGS).name).read_text(encoding="utf-8"))
        return [Finding(each["rule"], each["step"], each["says"]) for each in entries]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


def summary(job: Path) -> list[str]:
    """Return the lines that a job's end is told with: how many findings, each of them, and the report."""
    found = read(job / DATA)
    lines = [] if found is None else [f"findings: {len(found) or 'none'}", *(f"  {each}" for each in found)]
    report = job / REPORT
    return [*lines, f"report: {report}"] if report.is_file() else lines
