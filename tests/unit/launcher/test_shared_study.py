"""A search that several machines work on: its study in a real PostgreSQL server, started here.

What is shared is the database alone: each tuner has a folder of its own, as each machine has.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import small_search
from optuna.trial import FrozenTrial, TrialState

from launcher import search_arguments, study, study_storage
from launcher.errors import SettingsError
from launcher.study import BEGUN, Study

PASSWORD = "p@ss:w0rd/s3cr3t"  # noqa: S105 - of a server that lives as long as these tests
QUOTED = "p%40ss%3Aw0rd%2Fs3cr3t"
DRIVER = """
import json, os, sys
from pathlib import Path
from launcher import command_line, local_search, study_storage
from launcher.process_backend import ProcessBackend

study_storage.HEARTBEAT_SECONDS, study_storage.LOST_SECONDS = 1, 4

def main():
    base, runs, name, url = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], os.environ["SEARCH_STORAGE"]
    if name.endswith(".json"):
        found = local_search.begin(json.loads(Path(name).read_text()), runs, url, command_line.tell)
    else:
        found = local_search.attach(name, runs, url)
    local_search.run(found[0], ProcessBackend(code=base / "code"), found[1], command_line.tell)
    return 0

sys.exit(command_line.run(main))
"""


def programs() -> Path | None:
    """Return the folder of PostgreSQL's server programs, which Debian keeps out of the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(versions[-1]) if versions else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server with nothing in it, whose local time is not UTC; its URL."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed: initdb is neither in /usr/lib/postgresql nor in the path")
    base = Path(f"/tmp/study-{os.getpid()}")  # noqa: S108 - pytest's folders are closed to other users
    base.mkdir(mode=0o711)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (base / "password").write_text(PASSWORD)
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(base, "postgres")
    data = base / "data"
    settings = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c timezone=Asia/Tokyo -F"
    )

    def call(program: str, *arguments: str) -> None:
        command = [folder / program, "-D", data, *arguments]
        subprocess.run(command, cwd=base, check=True, stdout=subprocess.DEVNULL, **user)

    try:
        password = f"--pwfile={base / 'password'}"
        call("initdb", "--no-sync", "--auth=scram-sha-256", "--username=searcher", password)
        call("pg_ctl", "start", "--wait", f"--log={base / 'log'}", f"--options={settings}")
        yield f"postgresql+psycopg://searcher:{QUOTED}@127.0.0.1:{port}/postgres"
    finally:
        if (data / "postmaster.pid").exists():
            call("pg_ctl", "stop", "--mode=immediate")
        shutil.rmtree(base)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, server: str) -> Iterator[Start]:
    """Begin a search, or take part in one, as a machine of its own."""
    small_search.backend(tmp_path)
    (tmp_path / "driver.py").write_text(DRIVER)
    started: list[subprocess.Popen[str]] = []

    def begin(host: str, wanted: str, **variables: str) -> subprocess.Popen[str]:
        with (tmp_path / f"{host}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, tmp_path / "driver.py", tmp_path, tmp_path / host, wanted],
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env=os.environ | {"SEARCH_STORAGE": server} | variables,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def write_request(tmp_path: Path, name: str, **settings: Any) -> str:
    """Write a search's request; returns its file."""
    settings = {"max-trials": 8, "max-parallel-trials": 2, "pause": 0.3, "epochs": 3} | settings
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(small_search.request(tmp_path, name, **settings)))
    return str(file)


def wait_for(server: str, name: str, reached: Callable[[Study], object]) -> Study:
    """Wait until a search has got somewhere."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            found = study.attach(name, server)
        except SettingsError:  # not begun
            time.sleep(0.2)
            continue
        while not reached(found) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found
    raise AssertionError("the search is not begun")


def logged(tmp_path: Path, *hosts: str) -> str:
    """Return what tuners said."""
    return "\n".join((tmp_path / f"{host}.log").read_text() for host in hosts)


def most_at_once(trials: list[FrozenTrial]) -> int:
    """Return how many of the trials ran at the same time, at most."""
    events = [(datetime.fromisoformat(each.user_attrs[BEGUN]), 1) for each in trials]
    events += [(each.datetime_complete, -1) for each in trials if each.datetime_complete]
    running = [0]
    for _, step in sorted(events):
        running.append(running[-1] + step)
    return max(running)


def test_two_machines_share_the_trials_and_the_places_and_say_no_password(
    start: Start, server: str, tmp_path: Path
) -> None:
    study.create(json.loads(Path(write_request(tmp_path, "shared")).read_text()), server)
    first, second = start("one", "shared"), start("two", "shared")

    assert [first.wait(120), second.wait(120)] == [0, 0], logged(tmp_path, "one", "two")

    trials = study.attach("shared", server).own()
    assert [each.state for each in trials] == [TrialState.COMPLETE] * 8
    one, two = ({each.name for each in (tmp_path / host).glob("shared/shared-*")} for host in ("one", "two"))
    assert one
    assert two
    assert not one & two
    assert len(one | two) == 8
    assert most_at_once(trials) == 2
    for file in (each for each in tmp_path.rglob("*") if each.is_file()):
        assert b"s3cr3t" not in file.read_bytes(), file


def test_a_machine_that_dies_is_noticed_and_its_trials_run_on_another(
    start: Start, server: str, tmp_path: Path
) -> None:
    # Its sessions would be in another time zone: a dead trial's last sign of life would lie in the future.
    first = start("one", write_request(tmp_path, "death", pause=3), PGTZ="Pacific/Kiritimati")
    found = wait_for(server, "death", lambda found: len(found.trials()) == 2)
    second = start("two", "death")
    wait_for(server, "death", lambda found: found.running() > 2)
    first.send_signal(signal.SIGKILL)
    first.wait()

    assert second.wait(300) == 0, logged(tmp_path, "two")  # a busy machine takes minutes

    assert [each.state for each in found.own()] == [TrialState.COMPLETE] * 8
    everything = found.optuna.get_trials()
    lost = [each for each in everything if each.state == TrialState.FAIL]
    assert lost
    again = [each for each in found.own() if "retry_history" in each.system_attrs]
    assert len(again) == len(lost)
    assert {each.params.get("learning-rate") for each in lost if each.params} <= {
        each.params["learning-rate"] for each in again
    }


def test_a_machine_that_slept_through_the_loss_of_its_trials_goes_on_with_others(
    start: Start, server: str, tmp_path: Path
) -> None:
    first = start("one", write_request(tmp_path, "sleep", **{"max-trials": 14}))
    wait_for(server, "sleep", lambda found: len(found.trials()) == 2)
    second = start("two", "sleep")
    wait_for(server, "sleep", lambda found: found.running() > 2)
    first.send_signal(signal.SIGSTOP)
    found = wait_for(server, "sleep", Study.lost_jobs)
    first.send_signal(signal.SIGCONT)

    assert [first.wait(120), second.wait(120)] == [0, 0], logged(tmp_path, "one", "two")

    assert [each.state for each in found.own()] == [TrialState.COMPLETE] * 14
    assert "Traceback" not in logged(tmp_path, "one", "two")


def test_two_processes_that_find_a_stillborn_trial_queue_it_once(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = small_search.request(tmp_path, "stillborn", strategy="Grid", ranges=small_search.FATES)
    one, two = study.create(wanted, server), study.attach("stillborn", server)
    one.optuna.ask()
    monkeypatch.setattr(study_storage, "LOST_SECONDS", 0)
    seen = two._stillborn()
    one.retry_lost()
    monkeypatch.setattr(two, "_stillborn", lambda: seen)

    two.retry_lost()

    assert [each.state for each in one.optuna.get_trials()] == [TrialState.FAIL, TrialState.WAITING]
    fates = {one.values(one.optuna.ask())["batch-size"] for _ in range(4)}
    assert len(fates) == 4  # the grid has no gap


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((QUOTED, "wr0ng-s3cr3t"), "password authentication failed.*is the server running, and are user"),
        (("/postgres", "/nothing"), 'database "nothing" does not exist.*of the URL right'),
        (("127.0.0.1", "no-such-host.invalid"), "failed to resolve host"),
        (("/postgres", "/postgres?nonsense=1"), 'invalid connection option "nonsense"'),
        (("psycopg", "pg8000"), r"No module named 'pg8000'; postgresql\+psycopg:// and mysql\+pymysql://"),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_line_without_a_password(
    server: str, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as refusal:
        study.attach("nothing", server.replace(*change))

    assert "s3cr3t" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["p@ss-s3cr3t@host/database", f"postgresql+psycopg://user:{QUOTED}@host:port/x"]
)
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(
        SettingsError, match=r"cannot be read: it is such as postgresql.* are written %40"
    ) as no:
        study.attach("nothing", url)

    assert "s3cr3t" not in str(no.value)


def test_a_password_among_the_options_is_not_shown_either(server: str) -> None:
    url = server.replace(f":{QUOTED}@", "@") + f"?password={QUOTED}"

    with pytest.raises(
        SettingsError, match=r"there is no search nothing in postgresql\+psycopg://"
    ) as refusal:
        study.attach("nothing", url)

    assert "s3cr3t" not in str(refusal.value)


def test_trials_do_not_inherit_the_url(server: str) -> None:
    environment = {search_arguments.STORAGE: server, "HOME": "/"}

    assert search_arguments.storage_of(argparse.Namespace(storage=None), environment) == server
    assert environment == {"HOME": "/"}
