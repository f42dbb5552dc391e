"""What a person is told at a job's end of what its rules found."""

# ruff: noqa: F811 - a fixture is an argument under its own name

from pathlib import Path
from typing import Any

import pytest
from test_process_backend import backend, training  # noqa: F401 - fixtures

from launcher import findings, jobs
from launcher.process_backend import ProcessBackend
from trainer.findings import Finding, write_findings

EXPLODED = Finding("ExplodingTensor", 40, "gradient/head", float("nan"), 100.0, "it is NaN", "Clip it.")
IDLE = Finding("LowGPUUtilisation", None, "gpu", 12.0, 50.0, "the GPU was busy for 12 %", "More workers.")


def job(folder: Path, *found: Finding, report: bool = True) -> Path:
    (folder / "output/data/report").mkdir(parents=True)
    write_findings(folder / "output/data", found)
    if report:
        (folder / findings.REPORT).touch()
    return folder


def test_each_finding_is_a_line_and_the_report_comes_last(tmp_path: Path) -> None:
    assert findings.summary(job(tmp_path, EXPLODED, IDLE)) == [
        "findings: 2",
        "  ExplodingTensor at step 40: it is NaN",
        "  LowGPUUtilisation: the GPU was busy for 12 %",
        f"report: {tmp_path}/output/data/report/report.html",
    ]


def test_a_clean_job_is_said_to_be_one(tmp_path: Path) -> None:
    assert findings.summary(job(tmp_path, report=False)) == ["findings: none"]


@pytest.mark.parametrize("text", ["[{", '[{"rule": "half"}]', "[7]", "7"])
def test_half_a_file_is_no_finding(tmp_path: Path, text: str) -> None:
    (job(tmp_path) / findings.FINDINGS).write_text(text)

    assert findings.summary(tmp_path) == [f"report: {tmp_path}/output/data/report/report.html"]


def test_a_job_without_a_debugger_says_nothing(tmp_path: Path) -> None:
    assert findings.summary(tmp_path) == []


PROGRAM = """
import json, os, sys
from pathlib import Path

base = Path(os.environ["SAGEMAKER_BASE_DIR"])
config = json.loads((base / "input/config/debughookconfig.json").read_text())
(base / "output/tensors").mkdir()
(base / "output/tensors/config").write_text(config["LocalPath"])
(base / "output/data/report").mkdir()
(base / "output/data/report/report.html").touch()
entry = {"rule": "ExplodingTensor", "step": 3, "says": "it is NaN"}
(base / "output/data/findings.json").write_text(json.dumps([entry]))
if "--mode=fail" in sys.argv:
    (base / "output/failure").write_text("the loss is NaN")
    sys.exit(1)
if "--mode=stop" in sys.argv:
    sys.exit(0)
Path(os.environ["SM_MODEL_DIR"], "artifact.json").write_text("{}")
"""


def hooked(tmp_path: Path, mode: str) -> dict[str, Any]:
    (tmp_path / "code/program.py").write_text(PROGRAM)
    hook = {"S3OutputPath": "file:///unused", "LocalPath": "/opt/ml/output/tensors"}
    return training(tmp_path, mode, debug_hook=hook)


def test_a_job_finds_its_hook_and_leaves_tensors_and_a_report(
    backend: ProcessBackend,
    tmp_path: Path,
) -> None:
    done = backend.train(hooked(tmp_path, "succeed"), tmp_path / "runs", print)

    assert (done.folder / "output/tensors/config").read_text() == "/opt/ml/output/tensors"
    assert findings.summary(done.folder)[:2] == ["findings: 1", "  ExplodingTensor at step 3: it is NaN"]


@pytest.mark.parametrize(("mode", "error"), [("fail", jobs.JobFailed), ("stop", jobs.JobStopped)])
def test_a_job_that_did_not_end_well_tells_what_was_found_and_where_its_report_is(
    backend: ProcessBackend,
    tmp_path: Path,
    mode: str,
    error: type[Exception],
) -> None:
    request = hooked(tmp_path, mode)

    with pytest.raises(error) as ending:
        backend.train(request, tmp_path / "runs", print)

    folder = tmp_path / "runs" / request["TrainingJobName"]
    assert str(ending.value).splitlines()[-3:] == findings.summary(folder)
    assert str(ending.value).endswith(f"report: {folder}/output/data/report/report.html")
