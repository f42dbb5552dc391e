"""The process backend runs the real toolkit; here over a small training program of our own.

The toolkit passes on whatever one write brings, so the program writes each line in one piece.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher import cache, command_line, jobs, requests
from launcher.errors import SettingsError
from launcher.process_backend import ProcessBackend

PROGRAM = """
import argparse, os, signal, subprocess, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--mode")
parser.add_argument("--note", default="")
arguments = parser.parse_args()
base = Path(os.environ["SAGEMAKER_BASE_DIR"])
print(f"note {arguments.note}", flush=True)
print("picture " + Path(os.environ["SM_CHANNEL_TRAINING"], "picture.txt").read_text(), flush=True)
if arguments.mode == "fail":
    (base / "output/failure").write_text("the pictures are upside down\\n" + "x" * 5000)
    sys.exit(1)
if arguments.mode == "crash":
    raise ValueError("seven is not a breed")
if arguments.mode == "terminated early":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(600)
if arguments.mode == "continue":
    count = base / "checkpoints/count"
    count.write_text(str(int(count.read_text()) + 1) if count.exists() else "1")
    (Path(os.environ["TRAINER_CACHE_DIR"]) / "features").write_text("cached")
    print(f"run {count.read_text()}", flush=True)
if arguments.mode == "wait":
    def save(*_):
        (base / "checkpoints/last").write_text("saved")
        (base / "model/half").write_text("a model that is not whole")
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"waiting {child.pid}", flush=True)
    time.sleep(600)
Path(os.environ["SM_MODEL_DIR"], "artifact.json").write_text("{}")
sys.stdout.write("[metrics] epoch=1 test:accuracy=0.50\\n[metrics] epoch=2 test:accuracy=0.75\\n")
"""


@pytest.fixture
def backend(tmp_path: Path) -> ProcessBackend:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/program.py").write_text(PROGRAM)
    return ProcessBackend(code=tmp_path / "code")


def training(tmp_path: Path, mode: str, note: str = "", **settings: Any) -> requests.Request:
    channel = tmp_path / "pictures"
    channel.mkdir(exist_ok=True)
    (channel / "picture.txt").write_text("a dog")
    return requests.training_job(
        name=jobs.new_name("test"),
        image="not used",
        channels={"training": channel.as_uri()},
        hyperparameters={"mode": mode, "note": note},
        metric_definitions=[{"Name": "test:accuracy", "Regex": "test:accuracy=([0-9.]+)"}],
        output_uri="file:///unused",
        # The toolkit imports smdebug, and torch with it, only to know the names of its exceptions.
        environment={"SAGEMAKER_PROGRAM": "program.py", "USE_SMDEBUG": "0"},
        **settings,
    )


def test_a_job_leaves_its_model_its_log_and_its_last_metrics(backend: ProcessBackend, tmp_path: Path) -> None:
    lines: list[str] = []
    note = "it's \"odd\" – ü {'a': 1}"

    job = backend.train(training(tmp_path, "succeed", note), tmp_path / "runs", lines.append)

    assert f"note {note}" in lines
    assert "picture a dog" in lines
    assert job.metrics == {"test:accuracy": 0.75}
    assert (job.folder / "training.log").read_text().splitlines() == lines
    with tarfile.open(job.archive) as tar:
        assert tar.getnames() == ["artifact.json"]
    assert not (job.folder / "code").exists()
    assert not list((job.folder / "input").rglob("training"))
    assert (tmp_path / "pictures/picture.txt").exists()


def test_the_newest_job_is_the_one_that_latest_leads_to(backend: ProcessBackend, tmp_path: Path) -> None:
    for _ in range(2):
        job = backend.train(training(tmp_path, "succeed"), tmp_path / "runs", lambda line: None)
        link = jobs.point_latest(job)
        assert link.resolve() == job.folder


def test_a_failed_job_says_its_own_reason_first_cut_as_the_platform_cuts_it(
    backend: ProcessBackend, tmp_path: Path
) -> None:
    with pytest.raises(jobs.JobFailed) as failure:
        backend.train(training(tmp_path, "fail"), tmp_path / "runs", lambda line: None)

    reason, what = str(failure.value).split("\nthe training job ")
    assert reason.startswith("the pictures are upside down\n")
    assert len(reason) == 1024
    assert "exit code 1" in what
    assert what.endswith("training.log")


def test_a_crash_is_reported_with_its_cause(backend: ProcessBackend, tmp_path: Path) -> None:
    with pytest.raises(jobs.JobFailed, match=r"\A.*seven is not a breed"):
        backend.train(training(tmp_path, "crash"), tmp_path / "runs", lambda line: None)


def test_a_job_that_was_stopped_from_elsewhere_is_neither_done_nor_failed(
    backend: ProcessBackend, tmp_path: Path
) -> None:
    def stop(line: str) -> None:
        if line.startswith("waiting "):
            program = psutil.Process(int(line.split()[1])).parent()
            assert program
            program.terminate()

    request = training(tmp_path, "wait")
    with pytest.raises(jobs.JobStopped, match="was stopped before it had a result") as stopped:
        backend.train(request, tmp_path / "runs", stop)

    job = tmp_path / "runs" / request["TrainingJobName"]
    assert f"the same command with --checkpoints {job / 'checkpoints'} continues it" in str(stopped.value)
    assert not (job / "output/model.tar.gz").exists()


def test_a_job_that_was_stopped_before_its_first_checkpoint_is_said_to_start_again(
    backend: ProcessBackend, tmp_path: Path
) -> None:
    with pytest.raises(jobs.JobStopped, match="no checkpoint: the same command starts it again"):
        backend.train(training(tmp_path, "terminated early"), tmp_path / "runs", lambda line: None)


def test_a_stopped_job_has_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise jobs.JobStopped("was stopped")

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        assert command_line.run(main) == 75
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert capsys.readouterr().err == "stopped: was stopped\n"


def test_a_second_job_continues_with_the_same_checkpoints_and_cache(
    backend: ProcessBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, cached = tmp_path / "kept checkpoints", tmp_path / "cache"
    monkeypatch.setenv("TRAINER_CACHE_DIR", str(cached))
    lines: list[str] = []

    for _ in range(2):
        request = training(tmp_path, "continue", checkpoints=kept.as_uri())
        job = backend.train(request, tmp_path / "runs", lines.append)

    assert [line for line in lines if line.startswith("run ")] == ["run 1", "run 2"]
    assert (job.folder / "checkpoints").resolve() == kept
    assert (cached / "features").read_text() == "cached"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://bucket/kept", r"--checkpoints: 's3://bucket/kept' is not on this machine"),
        ("file:///dev/null/kept", r"--checkpoints: no folder can be made at /dev/null/kept"),
    ],
)
def test_checkpoints_that_cannot_be_kept_here_are_named_and_nothing_is_started(
    backend: ProcessBackend, tmp_path: Path, uri: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        backend.train(training(tmp_path, "succeed", checkpoints=uri), tmp_path / "runs", print)

    assert not (tmp_path / "runs").exists()


def test_a_cache_that_cannot_be_made_is_named_with_its_variable(
    backend: ProcessBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINER_CACHE_DIR", "/dev/null/cache")

    with pytest.raises(SettingsError, match=r"/dev/null/cache .*TRAINER_CACHE_DIR"):
        backend.train(training(tmp_path, "succeed"), tmp_path / "runs", print)


def test_the_cache_lies_below_the_users_own_where_none_is_named(tmp_path: Path) -> None:
    assert cache.folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "dog-breeds"
    assert (tmp_path / "dog-breeds").is_dir()


def test_several_hosts_are_refused_with_the_way_out(backend: ProcessBackend, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--instances 2: .*--backend docker"):
        backend.train(training(tmp_path, "succeed", instance_count=2), tmp_path / "runs", print)


def test_a_job_that_runs_too_long_is_stopped_and_may_save(backend: ProcessBackend, tmp_path: Path) -> None:
    lines: list[str] = []
    request = training(tmp_path, "wait", max_runtime_seconds=8)

    with pytest.raises(jobs.JobStopped, match="MaxRuntimeInSeconds, 8 s"):
        backend.train(request, tmp_path / "runs", lines.append)

    assert (tmp_path / "runs" / request["TrainingJobName"] / "checkpoints/last").read_text() == "saved"
    assert_ended(lines)


def assert_ended(lines: list[str]) -> None:
    """Check the process that the program started; a zombie has ended, whoever is to reap it."""
    pid = int(next(line for line in lines if line.startswith("waiting ")).split()[1])
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"the process {pid} still runs"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_launcher_ends_every_process_of_the_job(
    backend: ProcessBackend, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "request.json").write_text(json.dumps(training(tmp_path, "wait")))
    program = f"""
import json, sys
from pathlib import Path
from launcher import command_line
from launcher.process_backend import ProcessBackend
folder = Path({str(tmp_path)!r})
def main():
    request = json.loads((folder / "request.json").read_text())
    ProcessBackend(code=folder / "code").train(request, folder / "runs", command_line.tell)
    return 0
sys.exit(command_line.run(main))
"""
    launcher = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert launcher.stderr
    lines = [next(line for line in launcher.stderr if line.startswith("waiting "))]

    launcher.send_signal(number)

    assert launcher.wait(60) == 128 + number
    assert_ended(lines)
    (job,) = (tmp_path / "runs").iterdir()
    *_, last = launcher.stderr
    assert last == f"the same command with --checkpoints {job / 'checkpoints'} continues it\n"


def test_what_breaks_while_lines_are_passed_on_stops_the_job(backend: ProcessBackend, tmp_path: Path) -> None:
    def broken(line: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        backend.train(training(tmp_path, "wait"), tmp_path / "runs", broken)


def test_a_job_name_that_is_taken_is_refused(backend: ProcessBackend, tmp_path: Path) -> None:
    request = training(tmp_path, "succeed")
    (tmp_path / "runs" / request["TrainingJobName"]).mkdir(parents=True)

    with pytest.raises(SettingsError, match="exists: give the job another name"):
        backend.train(request, tmp_path / "runs", lambda line: None)


def test_a_channel_without_a_folder_is_named(backend: ProcessBackend, tmp_path: Path) -> None:
    request = training(tmp_path, "succeed")
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "file:///nowhere"

    with pytest.raises(SettingsError, match="'training' has no folder /nowhere"):
        backend.train(request, tmp_path / "runs", lambda line: None)


def test_the_settings_of_another_job_do_not_leak_in(
    backend: ProcessBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SM_CHANNEL_TRAINING", "/of/another/job")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", os.fspath(tmp_path / "other"))

    backend.train(training(tmp_path, "succeed"), tmp_path / "runs", lambda line: None)

    assert not (tmp_path / "other").exists()
