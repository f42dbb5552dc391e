"""What the docker backend promises, on a real engine, with a throw-away image made from this machine's files.

The image holds Python and a small program that behaves as a training or a serving image would; it is
imported, not built, so that nothing is downloaded.
"""

import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.errors import DockerException

from launcher import endpoint_requests, jobs, requests
from launcher.docker_backend import LABEL, DockerBackend
from launcher.errors import SettingsError
from launcher.hosting import EndpointFailed

PREFIX = f"test-{os.getpid()}"  # of this run's containers: another may run beside it
PROGRAM = """
import json, os, signal, socket, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ML = Path("/opt/ml")

def train():
    host = json.loads((ML / "input/config/resourceconfig.json").read_text())["current_host"]
    mode = json.loads(json.loads((ML / "input/config/hyperparameters.json").read_text())["mode"])
    print("host", socket.gethostname(), socket.gethostbyname("algo-1"), flush=True)
    print("hosts", json.loads((ML / "input/config/resourceconfig.json").read_text())["hosts"], flush=True)
    print("interfaces", sorted(os.listdir("/sys/class/net")), flush=True)
    print("picture", (ML / "input/data/training/picture.txt").read_text(), flush=True)
    print("shared memory", os.statvfs("/dev/shm").f_frsize * os.statvfs("/dev/shm").f_blocks, flush=True)
    try:
        (ML / "input/data/training/mine").write_text("x")
        print("the channel can be written", flush=True)
    except OSError as error:
        print("the channel cannot be written", flush=True)
    if mode == "fail":
        (ML / "output/failure").write_text("the pictures are upside down")
        return 1
    if mode == "continue":
        count = ML / "checkpoints/count"
        count.write_text(str(int(count.read_text()) + 1) if count.exists() else "1")
        Path(os.environ["TRAINER_CACHE_DIR"], "features").write_text("cached")
        print("run", count.read_text(), "cache", os.environ["TRAINER_CACHE_DIR"], flush=True)
    if mode == "together":
        meet(host)
    if mode == "one fails" and host == "algo-2":
        time.sleep(2)
        (ML / "output/failure").write_text("rank 1 saw a cat")
        return 1
    if mode == "one fails":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        time.sleep(600)
    if mode == "wait":
        def save(*_):
            name = "last" if host == "algo-1" else host
            (ML / "checkpoints" / name).write_text("saved")
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        print("waiting", flush=True)
        time.sleep(600)
    for folder in ("model", "output", "checkpoints"):
        os.chown(ML / folder, 1234, 1234)
    os.setgid(1234), os.setuid(1234)
    os.mkdir(ML / "model/private", 0o700)
    (ML / "model/private/weights").write_text("7")
    (ML / "model/artifact.json").write_text("{}")
    print("[metrics] test:accuracy=0.75", flush=True)
    return 0

def meet(host):
    peer = "algo-2" if host == "algo-1" else "algo-1"
    with socket.create_server(("0.0.0.0", 7777)):
        for attempt in range(100):
            try:
                socket.create_connection((peer, 7777), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        print("met", peer, flush=True)
        try:
            socket.create_connection(("198.51.100.1", 80), 3)
            print("there is a way out", flush=True)
        except OSError as error:
            print("no way out:", error.strerror, flush=True)
        time.sleep(1)  # the other host may still have to look

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = (ML / "model/weights").read_bytes()
        self.send_response(200), self.end_headers(), self.wfile.write(body)

def serve():
    if os.environ.get("MODE") == "die":
        print("the artifact cannot be served", flush=True)
        return 3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()

sys.exit({"train": train, "serve": serve}[sys.argv[1]]())
"""


@pytest.fixture(scope="module")
def client() -> Any:
    """Return a client of the engine; skip where none answers."""
    try:
        return docker.from_env()
    except DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")


@pytest.fixture(scope="module")
def image(client: Any) -> Iterator[str]:
    """Import this machine's Python, a shell and chown as an image of its own name; remove it afterwards."""
    name = f"launcher-test-{secrets.token_hex(4)}:latest"
    client.api.import_image_from_data(
        _file_system(),
        repository=name.partition(":")[0],
        tag="latest",
        changes=[f'ENTRYPOINT ["{Path(sys.executable).resolve()}", "/program.py"]'],
    )
    yield name
    client.images.remove(name)


def _file_system() -> bytes:
    python = Path(sys.executable).resolve()
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    chown = shutil.which("chown")
    assert chown
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        tar.add(base / "lib" / version, filter=_without_packages)
        binaries = {python, Path(chown)}
        extensions = set((base / "lib" / version).glob("lib-dynload/*.so"))
        for path in binaries.union(*map(_libraries, binaries | extensions)):
            tar.add(path)
        program = tarfile.TarInfo("program.py")
        program.size = len(PROGRAM.encode())
        tar.addfile(program, io.BytesIO(PROGRAM.encode()))
    return buffer.getvalue()


def _without_packages(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(member.name).parts
    return (
        None if {"site-packages", "dist-packages", "test", "idlelib", "__pycache__"} & set(parts) else member
    )


def _libraries(binary: Path) -> set[Path]:
    listing = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    return {Path(word) for word in listing.split() if word.startswith("/")}


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "picture.txt").write_text("a dog")
    return folder


def training(image: str, channel: Path, mode: str, **settings: Any) -> requests.Request:
    return requests.training_job(
        name=jobs.new_name(PREFIX),
        image=image,
        channels={"training": channel.as_uri()},
        hyperparameters={"mode": mode},
        metric_definitions=[{"Name": "test:accuracy", "Regex": "test:accuracy=([0-9.]+)"}],
        output_uri="file:///unused",
        **settings,
    )


def left_over(client: Any) -> list[str]:
    found = client.containers.list(all=True, ignore_removed=True, filters={"label": LABEL})
    found += client.networks.list(filters={"label": LABEL})
    return [each.name for each in found if each.name.startswith(PREFIX)]


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the tests out of the person's own cache."""
    monkeypatch.setenv("TRAINER_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_job_sees_the_platforms_contract_and_leaves_its_model_to_the_caller(
    image: str, channel: Path, tmp_path: Path, client: Any
) -> None:
    lines: list[str] = []

    job = DockerBackend().train(training(image, channel, "succeed"), tmp_path / "runs", lines.append)

    assert "host algo-1 127.0.0.1" in lines
    assert "hosts ['algo-1']" in lines
    assert "interfaces ['lo']" in lines  # no network
    assert "picture a dog" in lines
    assert "the channel cannot be written" in lines
    assert f"shared memory {2 * 1024**3}" in lines
    assert (job.folder / "training.log").read_text().splitlines() == lines
    assert job.metrics == {"test:accuracy": 0.75}
    assert {path.lstat().st_uid for path in job.folder.rglob("*")} == {os.getuid()}
    assert (job.folder / "model/private/weights").read_text() == "7"
    with tarfile.open(job.archive) as tar:
        assert tar.getnames() == ["artifact.json", "private", "private/weights"]
    assert left_over(client) == []


def test_a_failed_job_says_its_own_reason_first_and_where_the_log_is(
    image: str, channel: Path, tmp_path: Path, client: Any
) -> None:
    with pytest.raises(jobs.JobFailed) as failure:
        DockerBackend().train(training(image, channel, "fail"), tmp_path, lambda line: None)

    first, *rest = str(failure.value).splitlines()
    assert first == "the pictures are upside down"
    assert "exit code 1" in rest[0]
    assert "training.log" in rest[1]
    assert left_over(client) == []


def test_a_job_that_runs_too_long_is_stopped_by_sigterm_and_may_save(
    image: str, channel: Path, tmp_path: Path, client: Any
) -> None:
    request = training(image, channel, "wait", max_runtime_seconds=3)

    with pytest.raises(jobs.JobStopped, match="MaxRuntimeInSeconds, 3 s"):
        DockerBackend().train(request, tmp_path, lambda line: None)

    assert (tmp_path / request["TrainingJobName"] / "checkpoints/last").read_text() == "saved"
    assert left_over(client) == []


@pytest.mark.parametrize("case", [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_an_interrupted_launcher_lets_every_host_save_and_says_how_to_continue(
    image: str, channel: Path, tmp_path: Path, client: Any, case: tuple[signal.Signals, int]
) -> None:
    number, hosts = case
    request = training(image, channel, "wait", instance_count=hosts)
    (tmp_path / "request.json").write_text(json.dumps(request))
    program = f"""
import json, pathlib, sys
from launcher import command_line
from launcher.docker_backend import DockerBackend
request = json.loads(pathlib.Path({str(tmp_path / "request.json")!r}).read_text())
def main():
    DockerBackend().train(request, pathlib.Path({str(tmp_path)!r}), command_line.tell)
    return 0
sys.exit(command_line.run(main))
"""
    launcher = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert launcher.stderr
    for _ in range(hosts):
        assert any(line.endswith("waiting\n") for line in launcher.stderr)

    launcher.send_signal(number)

    assert launcher.wait(60) == 128 + number
    assert left_over(client) == []
    checkpoints = tmp_path / request["TrainingJobName"] / "checkpoints"
    assert [file.name for file in sorted(checkpoints.iterdir())] == ["algo-2", "last"][2 - hosts :]
    *_, last = launcher.stderr
    assert last == f"the same command with --checkpoints {checkpoints} continues it\n"


def test_a_job_that_was_stopped_from_elsewhere_is_neither_done_nor_failed(
    image: str, channel: Path, tmp_path: Path, client: Any
) -> None:
    def stop(line: str) -> None:
        if line == "waiting":
            client.containers.get(left_over(client)[0]).stop()

    with pytest.raises(jobs.JobStopped, match=r"stopped before it had a result[\s\S]*--checkpoints"):
        DockerBackend().train(training(image, channel, "wait"), tmp_path, stop)

    assert left_over(client) == []


def test_a_second_job_continues_with_the_same_checkpoints_and_cache(
    image: str, channel: Path, tmp_path: Path, client: Any, cached: Path
) -> None:
    kept = tmp_path / "kept checkpoints"
    lines: list[str] = []

    for _ in range(2):
        request = training(image, channel, "continue", checkpoints=kept.as_uri())
        job = DockerBackend().train(request, tmp_path / "runs", lines.append)

    runs = [line for line in lines if line.startswith("run ")]
    assert runs == ["run 1 cache /opt/ml/cache", "run 2 cache /opt/ml/cache"]
    assert (job.folder / "checkpoints").resolve() == kept
    assert (cached / "features").read_text() == "cached"
    assert {path.lstat().st_uid for path in [*kept.rglob("*"), *cached.rglob("*")]} == {os.getuid()}


def test_what_containers_write_is_the_callers_and_other_peoples_files_stay_theirs(
    image: str, channel: Path, tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file to somebody else; for others the tests above tell")
    kept = tmp_path / "kept"
    for folder in (kept, cached):
        folder.mkdir()
        (folder / "theirs").touch()
        os.chown(folder / "theirs", 777, 777)
    monkeypatch.setattr(os, "getuid", lambda: 12345)

    request = training(image, channel, "continue", checkpoints=kept.as_uri())
    job = DockerBackend().train(request, tmp_path / "runs", print)

    assert {path.lstat().st_uid for path in job.folder.rglob("weights")} == {12345}
    for folder, written in ((kept, "count"), (cached, "features")):
        assert (folder / written).stat().st_uid == 12345
        assert (folder / "theirs").stat().st_uid == 777


def test_hosts_of_one_job_meet_on_a_network_without_a_way_out(
    image: str, channel: Path, tmp_path: Path, client: Any
) -> None:
    lines: list[str] = []
    request = training(image, channel, "together", instance_count=2)

    job = DockerBackend().train(request, tmp_path / "runs", lines.append)

    assert {line for line in lines if "| met " in line} == {"algo-1 | met algo-2", "algo-2 | met algo-1"}
    assert sum("no way out" in line for line in lines) == 2
    assert "algo-2 | hosts ['algo-1', 'algo-2']" in lines
    assert "algo-1 | interfaces ['eth0', 'lo']" in lines
    assert (job.folder / "model/artifact.json").is_file()
    assert (job.folder / "algo-2/model/artifact.json").is_file()
    assert job.metrics == {"test:accuracy": 0.75}
    assert left_over(client) == []


def test_a_host_that_fails_ends_the_job_with_its_own_reason(
    image: str, channel: Path, tmp_path: Path, client: Any
) -> None:
    request = training(image, channel, "one fails", instance_count=2)
    start = time.monotonic()

    with pytest.raises(jobs.JobFailed) as failure:
        DockerBackend().train(request, tmp_path, lambda line: None)

    first, *rest = str(failure.value).splitlines()
    assert first == "rank 1 saw a cat"
    assert "failed on algo-2 with exit code 1" in rest[0]
    assert rest[1].endswith("algo-2/training.log")
    assert time.monotonic() - start < 30
    assert left_over(client) == []


def test_an_image_that_is_not_there_is_named_with_the_command_that_builds_it(
    channel: Path, tmp_path: Path, client: Any
) -> None:
    with pytest.raises(SettingsError, match=r"no image nowhere/such:1 here: `make build`"):
        DockerBackend().train(training("nowhere/such:1", channel, "succeed"), tmp_path, print)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("weights")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"7"))
    return path


def serving(image: str, archive: Path, **environment: str) -> list[requests.Request]:
    name = jobs.new_name(PREFIX)
    return [
        endpoint_requests.model(name=name, image=image, model_data=archive.as_uri(), environment=environment),
        endpoint_requests.endpoint_config(
            name=name, variants=[endpoint_requests.variant(model_name=name, startup_seconds=60)]
        ),
        endpoint_requests.endpoint(name=name, config_name=name),
    ]


def test_an_endpoint_answers_on_this_machine_only_and_leaves_nothing(
    image: str, archive: Path, client: Any
) -> None:
    backend = DockerBackend(memory="256m", cpus=0.5)

    with backend.deploy(*serving(image, archive), port=0, on_line=print) as endpoint:
        assert httpx.get(f"{endpoint.url}/ping", trust_env=False).text == "7"
        container = client.containers.get(left_over(client)[0])
        assert container.attrs["HostConfig"]["Memory"] == 256 * 1024**2
        assert container.attrs["HostConfig"]["NanoCpus"] == 500_000_000
        assert {binding["HostIp"] for binding in container.ports["8080/tcp"]} == {"127.0.0.1"}

    assert left_over(client) == []


def test_an_endpoint_that_dies_while_it_starts_is_reported_at_once_with_its_last_words(
    image: str, archive: Path, client: Any
) -> None:
    start = time.monotonic()

    with (
        pytest.raises(EndpointFailed, match=r"exit code 3[\s\S]*the artifact cannot be served"),
        DockerBackend().deploy(*serving(image, archive, MODE="die"), port=0, on_line=print),
    ):
        pytest.fail("it never answers")

    assert time.monotonic() - start < 20
    assert left_over(client) == []


def test_a_port_in_use_is_refused_before_anything_is_started(image: str, archive: Path, client: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(SettingsError, match=f"port {port} .*--port"),
            DockerBackend().deploy(*serving(image, archive), port=port, on_line=print),
        ):
            pytest.fail("the port is taken")
