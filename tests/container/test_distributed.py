"""Two hosts of one training job, as two containers: they compute, fail and stop together."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from project import TRAIN, write_config

HOSTS = ("algo-1", "algo-2")

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from trainer.distributed import process_group
from trainer.failures import DataError, run_program

output = Path(os.environ["SM_OUTPUT_DATA_DIR"])
ending = sys.argv[1].removeprefix("--ending=")

if ending == "early":
    (output / "ready").touch()
    if os.environ["RANK"] == "1":
        time.sleep(60)

def last_words(group):
    (output / "ready").touch()
    if group.rank == 1:
        if ending == "defect":
            raise ValueError("the root cause")
        if ending == "mistake":
            raise DataError("no pictures here")
        if ending == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

def work(stop):
    import torch
    with process_group(os.environ, device_type="cpu") as group:
        total = torch.tensor([group.rank + 1.0])
        group.sum(total)
        given = group.exchange_bytes(b"features" if group.is_main else None, source=0)
        if group.is_main:
            sys.stdout.write(f"[metrics] sum={total.item()} of {group.size} {given.decode()}\\n")
        last_words(group)
        requested = torch.zeros(1)
        with stop.deferred():  # throughout: all end after the same step
            while ending == "stopped" and not requested:
                requested.fill_(stop.requested)
                group.sum(requested)
            if requested:
                (output / "checkpoint").touch()
                stop.requested = True
                stop.check()

sys.exit(run_program(work, failure_file=Path(os.environ["SM_OUTPUT_DIR"], "failure")))
"""


@dataclass(frozen=True)
class Host:
    """One container of a job, and what it leaves in its output folder."""

    container: Container
    output: Path

    def exit_code(self) -> int:
        return int(self.container.wait(timeout=120)["StatusCode"])

    def log(self) -> str:
        return str(self.container.logs().decode())

    @property
    def failure(self) -> str:
        file = self.output / "failure"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def wait_for(self, name: str) -> None:
        """Wait until the program has made a file, or the container has ended."""
        while not (self.output / "data" / name).exists():
            self.container.reload()
            assert self.container.status != "exited", self.log()
            time.sleep(0.1)


StartHost = Callable[..., Host]


@pytest.fixture
def start(images: docker.DockerClient, containers: list[Container], tmp_path: Path) -> Iterator[StartHost]:
    """Start one of the two hosts of a job whose `PROGRAM` ends as it is told."""
    name = f"dog-breeds-test-{uuid.uuid4().hex[:8]}"
    network = images.networks.create(name, driver="bridge", internal=True)

    def start_host(host: str, *, ending: str) -> Host:
        folder = tmp_path / host
        config = folder / "config"
        resources = {"current_host": host, "hosts": list(HOSTS), "network_interface_name": "eth0"}
        write_config(config, {"ending": ending}, resources=resources, channels=[])
        (folder / "output" / "data").mkdir(parents=True)
        (folder / "own.py").write_text(PROGRAM, encoding="utf-8")
        container = images.containers.run(
            TRAIN,
            "train",
            detach=True,
            hostname=host,
            network=name,
            networking_config={name: images.api.create_endpoint_config(aliases=[host])},
            environment={"SAGEMAKER_PROGRAM": "own.py"},
            volumes={
                str(config): {"bind": "/opt/ml/input/config", "mode": "ro"},
                str(folder / "output"): {"bind": "/opt/ml/output", "mode": "rw"},
                str(folder / "own.py"): {"bind": "/opt/ml/code/own.py", "mode": "ro"},
            },
        )
        containers.append(container)
        return Host(container, folder / "output")

    yield start_host
    for container in containers:
        container.remove(force=True, v=True)
    containers.clear()
    network.remove()


def start_both(start: StartHost, *, ending: str) -> tuple[Host, Host]:
    """Both hosts, the second of them at work."""
    first, second = (start(host, ending=ending) for host in HOSTS)
    second.wait_for("ready")
    return first, second


def test_two_hosts_compute_together_and_the_metrics_are_in_the_first_ones_log(start: StartHost) -> None:
    first, second = (start(host, ending="well") for host in HOSTS)

    assert [host.exit_code() for host in (first, second)] == [0, 0], first.log() + second.log()
    assert "[metrics] sum=3.0 of 2 features" in first.log().splitlines()
    assert "[metrics]" not in second.log()
    assert (first.failure, second.failure) == ("", "")


def test_a_defect_ends_both_hosts_with_its_traceback_on_its_own_and_its_place_on_the_other(
    start: StartHost,
) -> None:
    first, second = start_both(start, ending="defect")
    begun = time.monotonic()

    assert [host.exit_code() for host in (first, second)] == [1, 1]
    assert time.monotonic() - begun < 30
    assert second.failure.startswith("ValueError: the root cause\n")
    assert 'raise ValueError("the root cause")' in second.failure
    assert first.failure == "rank 1 on host algo-2 failed: ValueError: the root cause\n"


def test_a_persons_mistake_on_one_host_is_a_sentence_on_both(start: StartHost) -> None:
    first, second = start_both(start, ending="mistake")

    assert [host.exit_code() for host in (first, second)] == [1, 1]
    assert second.failure == "no pictures here\n"
    assert first.failure == "rank 1 on host algo-2 failed: no pictures here\n"


def test_a_killed_program_ends_both_hosts(start: StartHost) -> None:
    first, second = start_both(start, ending="killed")
    begun = time.monotonic()

    assert [host.exit_code() for host in (first, second)] == [1, 1]
    assert time.monotonic() - begun < 30
    assert second.failure.startswith(
        "the training program was killed (signal 9), most often for lack of memory"
    )
    assert first.failure.startswith("a training process on algo-2 ended without a word")


def test_a_stop_of_both_hosts_lets_both_put_down_their_work_and_is_no_failure(start: StartHost) -> None:
    hosts = start_both(start, ending="stopped")
    begun = time.monotonic()

    for host in hosts:
        host.container.kill("SIGTERM")
    codes = [host.exit_code() for host in hosts]

    assert time.monotonic() - begun < 10
    assert codes == [0, 0], hosts[0].log() + hosts[1].log()
    assert [(host.output / "data" / "checkpoint").exists() for host in hosts] == [True, True]
    assert [host.failure for host in hosts] == ["", ""]


def test_a_stop_that_finds_one_host_not_listening_yet_keeps_the_other_waiting_for_no_time(
    start: StartHost,
) -> None:
    """The second one dies of the signal; the first one's torchrun would wait for it for five minutes."""
    hosts = start_both(start, ending="early")
    hosts[0].wait_for("ready")
    time.sleep(4)  # torch is imported, the first one listens
    begun = time.monotonic()

    for host in hosts:
        host.container.kill("SIGTERM")

    assert [host.exit_code() for host in hosts] == [0, 0], hosts[0].log() + hosts[1].log()
    assert time.monotonic() - begun < 10
    assert [host.failure for host in hosts] == ["", ""]


def test_a_stop_while_the_other_host_is_not_there_yet_ends_the_container_at_once(start: StartHost) -> None:
    host = start("algo-1", ending="well")
    while "waiting up to 15 minutes for the host name algo-2" not in host.log():
        time.sleep(0.1)
    begun = time.monotonic()

    host.container.kill("SIGTERM")

    assert host.exit_code() == 0, host.log()
    assert time.monotonic() - begun < 5
    assert host.failure == ""
