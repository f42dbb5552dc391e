"""kill −9 at random moments of a whole training job: the same command always ends in the same weights.

Starting Python with PyTorch and OpenVINO takes longer than the job, so a nursery process imports them once
and forks each attempt off. The undisturbed run, with which all is compared, is an ordinary process.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

CODE = Path(__file__).parents[3] / "container_train"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CODE), "SAGEMAKER_BASE_DIR": "/nowhere"}
QUICK = """
    --weights=none --backbone=efficientnet_lite0 --epochs=60 --batch-size=8 --learning-rate=0.01 --dropout=0.2
    --views=2 --resize=64 --crop=64 --checkpoint-steps=1 --workers=0 --mixed-precision=false
    --debug=false --profile=false
""".split()  # noqa: SIM905 - a command line
PHASES = ("extraction", "training", "export", "over")
SECONDS = 600.0  # that an attempt may take on a machine with much else to do

NURSERY = """
import json, os, sys
import openvino, timm, torchvision
import train_model, trainer.conversion, trainer.job

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["train_model.py", *order["arguments"]]
        sys.exit(train_model.main())
    print(child, flush=True)
    sys.stdin.readline()  # until the end is asked for, the child's number stays its own
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Folders:
    """What one run and its restarts share."""

    def __init__(self, base: Path, pictures: Path) -> None:
        self.base, self.pictures, self.model = base, pictures, base / "model"
        base.mkdir()

    def arguments(self) -> list[str]:
        names = {"model-dir": "model", "output-data-dir": "results", "checkpoints": "checkpoints"}
        folders = [f"--{flag}={self.base / name}" for flag, name in {**names, "cache": "cache"}.items()]
        return [*QUICK, f"--data={self.pictures}", *folders]

    def digests(self) -> dict[str, str]:
        """What the training has decided of the artifact: name → SHA-256."""
        names = ("model.bin", "selftest_logits.npy")
        return {name: hashlib.sha256((self.model / name).read_bytes()).hexdigest() for name in names}


@dataclass
class Attempt:
    """One start of the program, as it looks from outside."""

    process: int
    log: Path

    def said(self) -> str:
        """Its output so far, in which there is no complaint."""
        text = self.log.read_text() if self.log.exists() else ""
        assert not any(word in text for word in ("Traceback", "error:", "warning:", "damaged")), text
        return text

    def seconds(self) -> float:
        """Processor time it has taken: on a busy machine a better clock than the wall's."""
        used = psutil.Process(self.process).cpu_times()
        return used.user + used.system

    def ended(self) -> bool:
        """Whether it is over, and only its exit code is left."""
        return psutil.Process(self.process).status() == psutil.STATUS_ZOMBIE

    def phase(self) -> str:
        """What it is doing, judged by its last lines."""
        said = self.said()
        if "exported to" in said:
            return "over"
        if "test:loss=" in said:
            return "export"
        if "going on from the checkpoint" in said or "epoch=1 " in said:
            return "training"
        return "extraction" if "weights from" in said else "start"


class Nursery:
    """Starts attempts, one at a time."""

    def __init__(self, logs: Path) -> None:
        self.logs, self.count = logs, 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self, folders: Folders) -> Attempt:
        self.count += 1
        log = self.logs / f"attempt-{self.count}.log"
        order = {"log": str(log), "arguments": folders.arguments()}
        return Attempt(self._ask(json.dumps(order)), log)

    def end(self) -> int:
        """The exit code of the attempt, once it has ended."""
        return self._ask("")

    def _ask(self, line: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    """A nursery that takes its attempt along when the test fails."""
    logs = tmp_path / "logs"
    logs.mkdir()
    nursery = Nursery(logs)
    yield nursery
    os.killpg(nursery.process.pid, signal.SIGKILL)
    nursery.process.communicate()


def wait_until(reached: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.001)


def wait_for(attempt: Attempt, phase: str) -> float:
    """Until the phase or a later one is reached; the processor seconds it took so far."""
    later = PHASES[PHASES.index(phase) :]
    wait_until(lambda: attempt.phase() in later)
    return attempt.seconds()


def durations(nursery: Nursery, folders: Folders) -> dict[str, float]:
    """How many processor seconds each phase of an undisturbed run takes."""
    attempt = nursery.start(folders)
    begun = {phase: wait_for(attempt, phase) for phase in PHASES}
    assert nursery.end() == 0, attempt.said()
    return {phase: begun[following] - begun[phase] for phase, following in pairwise(PHASES)}


def what_was_cut(attempt: Attempt, folders: Folders) -> str:
    """What an attempt was doing when it was killed: half-written files tell, else its last lines."""
    if list(folders.base.glob("checkpoints/*/.step-*.partial")):
        return "checkpointing"
    if (folders.model / ".partial").exists():
        return "export"
    return attempt.phase()


def kill_in(phase: str, after: float, nursery: Nursery, folders: Folders) -> str:
    """Start, kill after so many processor seconds of the phase, and say what was cut."""
    attempt = nursery.start(folders)
    until = wait_for(attempt, phase) + after
    wait_until(lambda: attempt.seconds() >= until or attempt.ended())
    time.sleep(after % 0.01)  # the system counts in hundredths
    os.kill(attempt.process, signal.SIGKILL)
    assert nursery.end() in {-signal.SIGKILL, 0}
    return what_was_cut(attempt, folders)


def killed_everywhere(nursery: Nursery, folders: Folders, lasts: dict[str, float]) -> Counter[str]:
    """Kill one job again and again, in each of its phases; what was cut, and how often."""
    moments, cut = random.Random(0), Counter[str]()
    for share in sorted(moments.random() for _ in range(5)):
        cut[kill_in("extraction", share * lasts["extraction"], nursery, folders)] += 1
    while cut.total() < 16 or (cut.total() < 30 and not cut["checkpointing"] and cut["export"] < 5):
        cut[kill_in("training", moments.random() * lasts["training"] / 11, nursery, folders)] += 1
    for _ in range(5):
        cut[kill_in("export", moments.random() * lasts["export"], nursery, folders)] += 1
    return cut


def is_enough(cut: Counter[str]) -> bool:
    """Whether twenty kills came in time, and some in whatever is written."""
    return (
        cut.total() - cut["over"] >= 20
        and {"extraction", "training", "checkpointing", "export"} <= cut.keys()
    )


def test_killed_again_and_again_it_ends_in_the_weights_of_an_undisturbed_run(
    pictures: Path, tmp_path: Path, nursery: Nursery
) -> None:
    undisturbed, timed = (Folders(tmp_path / name, pictures) for name in ("one", "two"))
    program = [sys.executable, str(CODE / "train_model.py"), *undisturbed.arguments()]
    subprocess.run(program, env=ENVIRONMENT, capture_output=True, check=True, timeout=SECONDS)
    lasts = durations(nursery, timed)

    for number in range(3):  # on a busy machine a kill comes late: the training may be over with it
        killed = Folders(tmp_path / f"three-{number}", pictures)
        cut = killed_everywhere(nursery, killed, lasts)
        if is_enough(cut):
            break
    attempt = nursery.start(killed)
    assert nursery.end() == 0, attempt.said()

    assert is_enough(cut), cut
    assert killed.digests() == timed.digests() == undisturbed.digests()
    assert "going on from the checkpoint" in attempt.said()
    assert not (killed.model / ".partial").exists()
