"""The real sagemaker-training toolkit, outside any container: `train` under SAGEMAKER_BASE_DIR."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

CODE = Path(__file__).parents[3] / "container_train"
TRAIN = Path(sys.executable).parent / "train"
QUICK = {"backbone": "efficientnet_lite0", "epochs": "1", "learning-rate": "0.05", "workers": "0"}

pytestmark = pytest.mark.skipif(not TRAIN.exists(), reason="the sagemaker-training toolkit is not installed")


def lay_out(base: Path, data: Path, hyperparameters: dict[str, str], *, code: Path = CODE) -> Path:
    """The /opt/ml folder as the platform hands it to a container."""
    configuration = base / "input" / "config"
    configuration.mkdir(parents=True)
    for folder in ("model", "output/data", "input/data"):
        (base / folder).mkdir(parents=True)
    (base / "code").symlink_to(code)
    (base / "input" / "data" / "training").symlink_to(data)
    resources = {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"}
    for name, content in {
        "hyperparameters": hyperparameters,
        "resourceconfig": resources,
        "inputdataconfig": {"training": {"TrainingInputMode": "File"}},
    }.items():
        (configuration / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return base


def start(
    base: Path, program: str = "train_model.py", *, before: Sequence[str] = ()
) -> subprocess.Popen[str]:
    environment = {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_PROGRAM": program,
        "SAGEMAKER_TRAINING_MODULE": "trainer.toolkit_entry:main",
    }
    return subprocess.Popen(
        [*before, TRAIN],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(base: Path, program: str = "train_model.py") -> tuple[int, str, str]:
    """Exit code, log and failure text of a job."""
    process = start(base, program)
    log, _ = process.communicate(timeout=300)
    failure = base / "output" / "failure"
    return process.returncode, log, failure.read_text(encoding="utf-8") if failure.exists() else ""


def test_a_job_leaves_its_model_and_whole_metric_lines(pictures: Path, tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml", pictures, {**QUICK, "_tuning_objective_metric": "validation:accuracy"})

    code, log, failure = run(base)

    assert (code, failure) == (0, ""), log
    assert (base / "output" / "success").exists()
    assert (base / "model" / "artifact.json").exists()
    assert (base / "output" / "data" / "test_predictions.csv").exists()
    assert "SM_TRAINING_ENV" not in log, "the toolkit's own lines bury the program's"
    lines = [line for line in log.splitlines() if "[metrics]" in line]
    assert [line.split("=")[0] for line in lines] == ["[metrics] epoch", "[metrics] test:loss"]


@pytest.mark.parametrize(
    ("hyperparameters", "expected"),
    [
        ({"batch-size": "0"}, "batch-size must be a number from 1, not 0\n"),
        (
            {"backbone": '-odd "näme"\n $HOME'},
            "unknown backbone '-odd \"näme\"\\n $HOME': the",
        ),
    ],
)
def test_a_persons_mistake_is_the_whole_failure_file(
    pictures: Path, tmp_path: Path, hyperparameters: dict[str, str], expected: str
) -> None:
    code, log, failure = run(lay_out(tmp_path / "ml", pictures, hyperparameters))

    assert code == 1
    assert failure.startswith(expected), log
    assert failure.count("\n") == 1
    assert len(failure) < 1024
    assert not (tmp_path / "ml" / "model" / "artifact.json").exists()


def program(tmp_path: Path, text: str) -> Path:
    code = tmp_path / "code"
    code.mkdir()
    (code / "own.py").write_text(text, encoding="utf-8")
    return code


def test_a_defects_root_cause_leads_the_failure_file_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    code = program(tmp_path, "def deep():\n    raise ValueError('the root cause')\n\ndeep()\n")

    status, log, failure = run(lay_out(tmp_path / "ml", tmp_path, {}, code=code), "own.py")

    assert status == 1
    assert failure.startswith("ValueError: the root cause\n")
    assert "in deep" in log


def test_a_cause_that_arrives_in_two_pieces_is_one_line_again(tmp_path: Path) -> None:
    own = (
        "import sys, time\nsys.stderr.write('ValueError')\nsys.stderr.flush()\ntime.sleep(0.5)\n"
        "sys.exit(': the root cause')\n"
    )

    _, _, failure = run(lay_out(tmp_path / "ml", tmp_path, {}, code=program(tmp_path, own)), "own.py")

    assert failure.startswith("ValueError: the root cause\n")


def test_a_killed_program_says_that_memory_is_the_usual_reason(tmp_path: Path) -> None:
    code = program(tmp_path, "import os\nos.kill(os.getpid(), 9)\n")

    status, _, failure = run(lay_out(tmp_path / "ml", tmp_path, {}, code=code), "own.py")

    assert status == 1
    assert failure.startswith("the training program was killed (signal 9), most often for lack of memory")


NO_SPACE = ["sh", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$0"']  # a file may be made, and holds nothing


@pytest.mark.parametrize("own", ["raise SystemExit('wrong')", "import os; os.kill(os.getpid(), 9)"])
def test_a_failure_that_cannot_be_written_down_is_no_success(tmp_path: Path, own: str) -> None:
    base = lay_out(tmp_path / "ml", tmp_path, {}, code=program(tmp_path, own))

    process = start(base, "own.py", before=NO_SPACE)
    log, _ = process.communicate(timeout=60)

    assert process.returncode == 1, log
    assert "failure cannot be written: File too large" in log
    assert (base / "output" / "failure").read_text() == ""


def test_a_host_name_that_is_not_known_is_said_before_the_long_wait(tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml", tmp_path, {})
    resources = {"current_host": "algo-1.invalid", "hosts": ["algo-1.invalid"]}
    (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(resources))
    process = start(base)
    assert process.stdout is not None

    said = next((line for line in process.stdout if "waiting" in line), "")
    process.kill()
    process.communicate()

    assert "up to 15 minutes for the host name algo-1.invalid" in said
    assert "--add-host algo-1.invalid:127.0.0.1" in said


def test_values_of_every_kind_reach_the_program(tmp_path: Path) -> None:
    code = program(tmp_path, "import json, sys\njson.dump(sys.argv[1:], open('seen.json', 'w'))\n")
    odd = {
        "a": "true",
        "b": "-1e-3",
        "c": " two  words ",
        "d": '{"x": [1, "é"]}',
        "e": "-dash",
        "f": 'it\'s "q"',
    }

    status, log, _ = run(lay_out(tmp_path / "ml", tmp_path, odd, code=code), "own.py")

    assert status == 0, log
    assert json.loads((code / "seen.json").read_text()) == [
        "--a=true", "--b=-0.001", "--c= two  words ", '--d={"x": [1, "é"]}', "--e=-dash", "--f=it's \"q\"",
    ]  # fmt: skip


def test_a_stop_reaches_the_program_and_leaves_nothing_servable(pictures: Path, tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml", pictures, {**QUICK, "epochs": "1000", "workers": "2"})
    process = start(base)
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch=1 " in line:
            break

    process.send_signal(signal.SIGTERM)
    stopped = time.monotonic()
    process.communicate(timeout=60)

    assert process.returncode == 1
    assert time.monotonic() - stopped < 30
    failure = (base / "output" / "failure").read_text(encoding="utf-8")
    assert failure == "stopped by SIGTERM before training was complete\n"
    assert list((base / "model").iterdir()) == []
