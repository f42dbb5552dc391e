"""The real sagemaker-training toolkit, outside any container: `train` under SAGEMAKER_BASE_DIR."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
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
    base: Path, program: str = "train_model.py", *, before: Sequence[str] = (), path: Path | None = None
) -> subprocess.Popen[str]:
    """`train`, or the `before` that starts it; programs in `path` come first."""
    environment = {
        "PATH": os.pathsep.join(map(str, filter(None, [path, TRAIN.parent, os.environ["PATH"]]))),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_PROGRAM": program,
        "SAGEMAKER_TRAINING_MODULE": "trainer.toolkit_entry:main",
        "USE_SMDEBUG": "0",  # as in the image
    }
    return subprocess.Popen(
        [*before, TRAIN],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(base: Path, program: str = "train_model.py", *, path: Path | None = None) -> tuple[int, str, str]:
    """Exit code, log and failure text of a job."""
    process = start(base, program, path=path)
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
    assert {"[metrics] epoch", "[metrics] test:loss"} <= {line.split("=")[0] for line in lines}


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


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A job whose host name is not known, and what it says about that."""
    base = lay_out(tmp_path / "ml", tmp_path, {})
    resources = {"current_host": "algo-1.invalid", "hosts": ["algo-1.invalid"]}
    (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(resources))
    process = start(base)
    assert process.stdout is not None
    yield process, next((line for line in process.stdout if "waiting" in line), "")
    process.kill()
    process.communicate()


def test_a_host_name_that_is_not_known_is_said_before_the_long_wait(
    waiting: tuple[subprocess.Popen[str], str],
) -> None:
    _, said = waiting

    assert "up to 15 minutes for the host name algo-1.invalid" in said
    assert "--add-host algo-1.invalid:127.0.0.1" in said


def test_a_stop_ends_the_wait_for_a_host_name_at_once(waiting: tuple[subprocess.Popen[str], str]) -> None:
    process, _ = waiting

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=5) == 0


def test_a_stop_that_comes_before_the_toolkit_listens_is_not_lost(tmp_path: Path) -> None:
    """A container's first process would not even be interrupted by it."""
    base = lay_out(tmp_path / "ml", tmp_path, {}, code=program(tmp_path, "open('began', 'w')\n"))
    as_in_the_image = f"exec {sys.executable} {CODE / 'entrypoint.py'} train"
    process = start(base, "own.py", before=["sh", "-c", as_in_the_image])
    while not signals_blocked(process.pid) >> (signal.SIGTERM - 1) & 1:
        time.sleep(0.002)

    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=30)

    assert process.returncode == 0, log
    assert not (tmp_path / "code" / "began").exists()


def signals_blocked(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("SigBlk:")[2].split()[0], base=16)


ODD = {
    "a": "true",
    "b": "-1e-3",
    "c": " two  words ",
    "d": '{"x": [1, "é"]}',
    "e": "-dash",
    "f": 'it\'s "q"',
}
SEEN = [
    "--a=true", "--b=-0.001", "--c= two  words ", '--d={"x": [1, "é"]}', "--e=-dash", "--f=it's \"q\"",
]  # fmt: skip


def test_values_of_every_kind_reach_the_program(tmp_path: Path) -> None:
    code = program(tmp_path, "import json, sys\njson.dump(sys.argv[1:], open('seen.json', 'w'))\n")

    status, log, _ = run(lay_out(tmp_path / "ml", tmp_path, ODD, code=code), "own.py")

    assert status == 0, log
    assert json.loads((code / "seen.json").read_text()) == SEEN


def test_a_stop_reaches_the_program_and_leaves_nothing_servable(pictures: Path, tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml", pictures, {**QUICK, "epochs": "1000", "workers": "2"})
    process = start(base)
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch=1 " in line:
            break

    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=60)  # half of what the platform grants

    assert process.returncode == 0, log
    assert not (base / "output" / "failure").exists()
    assert list((base / "model").iterdir()) == []


@pytest.fixture
def two_gpus(tmp_path: Path) -> Path:
    """A folder for the PATH in which the driver's tool tells of two GPUs, as the toolkit asks it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tool = folder / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: one'\necho 'GPU 1: another'\n", encoding="ascii")
    tool.chmod(0o755)
    return folder


ONE_IS_KILLED = """
import json, os, signal, sys, time
rank = int(os.environ["RANK"])
names = ("WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME")
seen = [sys.argv[1:], [os.environ[name] for name in names]]
json.dump(seen, open(f"seen-{rank}.json", "w"))
if rank == 0:
    sys.stdout.write("[metrics] epoch=1 loss=0.5\\n")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(60)
while not os.path.exists("seen-0.json"):
    time.sleep(0.1)
time.sleep(0.2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_gpu_has_a_process_and_the_one_that_was_killed_is_the_failure(
    tmp_path: Path, two_gpus: Path
) -> None:
    code = program(tmp_path, ONE_IS_KILLED)

    status, log, failure = run(lay_out(tmp_path / "ml", tmp_path, ODD, code=code), "own.py", path=two_gpus)

    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    for rank in (0, 1):
        arguments, environment = json.loads((code / f"seen-{rank}.json").read_text())
        assert arguments == SEEN
        assert environment == ["2", str(rank), "2", os.environ.get("OMP_NUM_THREADS", threads), "lo"]
    assert "[metrics] epoch=1 loss=0.5" in log.splitlines(), "a prefix would hide it from the metric's regex"
    assert status == 1
    assert failure.startswith("the training program was killed (signal 9), most often for lack of memory")
    assert "rank 1 died of SIGKILL" in failure


ONE_HAS_A_DEFECT = """
import os, sys
from pathlib import Path
from trainer.distributed import process_group
from trainer.failures import run_program

def work(stop):
    with process_group(os.environ, device_type="cpu") as group:
        if group.rank == 1:
            raise ValueError("the root cause")
        group.barrier()

sys.exit(run_program(work, failure_file=Path(os.environ["SM_OUTPUT_DIR"], "failure")))
"""


def test_the_failure_file_has_the_traceback_of_the_process_that_failed(
    tmp_path: Path, two_gpus: Path
) -> None:
    base = lay_out(tmp_path / "ml", tmp_path, {}, code=program(tmp_path, ONE_HAS_A_DEFECT))

    status, log, failure = run(base, "own.py", path=two_gpus)

    assert status == 1, log
    assert failure.startswith("ValueError: the root cause\n")
    assert 'raise ValueError("the root cause")' in failure
    assert len(failure) < 1024, "the platform shows no more"


PUTS_DOWN_ITS_WORK = """
import os, signal, subprocess, sys, time
from pathlib import Path
rank = os.environ["RANK"]
loader = subprocess.Popen(["sh", "-c", "trap 'touch loader-signalled' TERM; while :; do sleep 0.1; done"])

def put_down(*_):
    Path(f"put-down-{rank}").touch()
    time.sleep(0.5)
    loader.kill()
    sys.exit(0)

signal.signal(signal.SIGTERM, put_down)
Path(f"ready-{rank}").touch()
time.sleep(60)
"""


def test_a_stop_reaches_every_process_but_not_their_loaders_and_is_no_failure(
    tmp_path: Path, two_gpus: Path
) -> None:
    code = program(tmp_path, PUTS_DOWN_ITS_WORK)
    process = start(lay_out(tmp_path / "ml", tmp_path, {}, code=code), "own.py", path=two_gpus)
    while len(list(code.glob("ready-*"))) < 2 and process.poll() is None:
        time.sleep(0.1)

    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=60)  # half of what the platform grants

    assert process.returncode == 0, log
    assert sorted(file.name for file in code.glob("*-down-*")) == ["put-down-0", "put-down-1"]
    assert not (code / "loader-signalled").exists()
    assert not (tmp_path / "ml" / "output" / "failure").exists()


def test_a_stop_while_torchrun_is_starting_is_no_failure(tmp_path: Path, two_gpus: Path) -> None:
    code = program(tmp_path, PUTS_DOWN_ITS_WORK)
    process = start(lay_out(tmp_path / "ml", tmp_path, {}, code=code), "own.py", path=two_gpus)
    while not has_torchrun(process.pid) and process.poll() is None:
        time.sleep(0.01)

    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=30)

    assert process.returncode == 0, log
    assert not (tmp_path / "ml" / "output" / "failure").exists()


def has_torchrun(process: int) -> bool:
    return any(
        each.info["ppid"] == process and "torch.distributed.run" in (each.info["cmdline"] or [])
        for each in psutil.process_iter(["ppid", "cmdline"])
    )
