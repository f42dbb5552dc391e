"""What a person gets from the scripts: messages, and exit codes that a program can trust."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[3] / "scripts"
SPLITS = {"train": 6, "valid": 3, "test": 4}
COLOURS = {"001.Red_dog": (200, 20, 20), "002.Green": (20, 200, 20), "003.Blue": (20, 20, 200)}


def script(name: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPTS / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        # The toolkit imports smdebug, and torch with it, only to know the names of its exceptions.
        env=os.environ | {"USE_SMDEBUG": "0"} | environment,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw three classes, with one text file that is named as a picture in the test split."""
    root = tmp_path_factory.mktemp("pictures")
    for split, count in SPLITS.items():
        for name, colour in COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (80 + number, 70), colour).save(root / split / name / f"{number}.jpg")
    (root / "test/002.Green/text.jpg").write_text("no picture")
    return root


def test_a_dry_run_prints_the_request_and_makes_nothing(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"epochs": 9, "seed": 7, "mixed-precision": true}')

    done = script(
        "launch_training.py",
        *("--data", pictures, "--output", tmp_path / "runs", "--dry-run"),
        *("--hyperparameters", tmp_path / "settings.json", "--epochs", "2", "--set", "weights=none"),
    )

    request = json.loads(done.stdout)
    assert done.returncode == 0
    assert request["HyperParameters"] == {
        "epochs": "2",
        "seed": "7",
        "mixed-precision": "true",
        "weights": '"none"',
    }
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == pictures.as_uri()
    assert not (tmp_path / "runs").exists()


def test_how_a_job_runs_is_in_the_request(pictures: Path, tmp_path: Path) -> None:
    done = script(
        "launch_training.py",
        *("--data", pictures, "--dry-run", "--checkpoints", tmp_path / "kept ü", "--instances", "2"),
        *("--volume-gb", "5", "--input-mode", "FastFile"),
    )

    request = json.loads(done.stdout)
    assert request["CheckpointConfig"]["S3Uri"] == (tmp_path / "kept ü").as_uri()
    assert request["ResourceConfig"]["InstanceCount"] == 2
    assert request["ResourceConfig"]["VolumeSizeInGB"] == 5
    assert request["AlgorithmSpecification"]["TrainingInputMode"] == "FastFile"
    assert not (tmp_path / "kept ü").exists()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--instances", "0"),
        ("--volume-gb", "many"),
        ("--input-mode", "Pipe"),
        ("--checkpoints", "http://elsewhere/kept"),
        ("--checkpoints", "s3:///kept"),
    ],
)
def test_a_wrong_value_is_wrong_usage_and_its_flag_is_named(pictures: Path, flag: str, value: str) -> None:
    done = script("launch_training.py", "--data", pictures, "--dry-run", flag, value)

    assert done.returncode == 2
    assert f"argument {flag}: " in done.stderr


def test_a_dry_run_of_deploy_prints_the_three_requests(tmp_path: Path) -> None:
    done = script("deploy.py", "--model", tmp_path / "model.tar.gz", "--dry-run")

    requests = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(requests) == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert requests["CreateModel"]["PrimaryContainer"]["ModelDataUrl"] == (tmp_path / "model.tar.gz").as_uri()


@pytest.mark.parametrize("name", ["launch_training.py", "demo.py"])
def test_no_data_folder_is_said_and_is_a_wrong_setting(name: str, tmp_path: Path) -> None:
    done = script(name, "--data", tmp_path / "nowhere", "--backend", "process")

    assert done.returncode == 2
    assert "nowhere does not exist" in done.stderr
    assert "train/, valid/ and test/" in done.stderr
    assert "Traceback" not in done.stderr


def lose_a_class(data: Path) -> None:
    shutil.rmtree(data / "valid/002.Green")


def gain_a_class(data: Path) -> None:
    shutil.copytree(data / "test/002.Green", data / "test/004.Yellow")


def empty_a_class(data: Path) -> None:
    for file in (data / "train/003.Blue").iterdir():
        file.unlink()


def drop_a_split(data: Path) -> None:
    shutil.rmtree(data / "valid")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_a_class, "/valid lacks 002.Green: every split needs the same classes"),
        (gain_a_class, "/test has 004.Yellow, which train lacks: every split needs the same classes"),
        (empty_a_class, "/train has no pictures for 003.Blue: add some or remove the class"),
        (drop_a_split, "/valid is missing. It needs train/, valid/ and test/"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_a_wrong_setting_and_starts_nothing(
    pictures: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    spoil(data)

    done = script("launch_training.py", "--data", data, "--backend", "process", "--output", tmp_path / "runs")

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {data}{message}")
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def failed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """Train on pictures of which none can be read, with no engine to choose."""
    folder = tmp_path_factory.mktemp("failed")
    data = Path(shutil.copytree(pictures, folder / "data"))
    for file in (data / "train").rglob("*.jpg"):
        file.write_text("no picture")
    return script(
        "launch_training.py",
        *("--data", data, "--output", folder / "runs", "--backbone", "efficientnet_lite0"),
        *("--set", "weights=none", "--set", "max-unreadable=1"),
        DOCKER_HOST=f"unix://{folder / 'none.sock'}",
    )


def test_pictures_of_which_none_can_be_read_fail_the_job(failed: subprocess.CompletedProcess[str]) -> None:
    data = Path(failed.args[failed.args.index("--data") + 1])

    assert failed.returncode == 1
    assert "error: none of the pictures of 001.Red_dog, 002.Green, 003.Blue in " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert len(list(data.parent.glob("runs/*/output/failure"))) == 1


def test_auto_takes_processes_when_no_engine_answers_and_says_why(
    failed: subprocess.CompletedProcess[str],
) -> None:
    assert "backend: process (no Docker engine: no Docker engine answers: there is no Docker socket)" in (
        failed.stderr
    )


def test_docker_not_running_is_said_with_both_ways_out(pictures: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))  # nobody listens
        done = script(
            "launch_training.py",
            *("--data", pictures, "--backend", "docker", "--output", tmp_path),
            DOCKER_HOST=f"unix://{tmp_path / 'dead.sock'}",
        )

    assert done.returncode == 2
    assert "no Docker engine answers: nothing listens" in done.stderr
    assert "systemctl start docker" in done.stderr
    assert "--backend process" in done.stderr
    assert "Traceback" not in done.stderr


def test_limits_cannot_be_set_on_processes(tmp_path: Path) -> None:
    done = script("deploy.py", "--backend", "process", "--memory", "1g")

    assert done.returncode == 2
    assert "need --backend docker" in done.stderr


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = script("deploy.py", "--backend", "process", "--model", tmp_path / "no.tar.gz", "--port", "0")

    assert done.returncode == 2
    assert f"no model at {tmp_path / 'no.tar.gz'}" in done.stderr


def test_a_port_in_use_is_said_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = script(
            "deploy.py", "--backend", "process", "--model", tmp_path / "model.tar.gz", "--port", port
        )

    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 cannot be used (Address already in use)" in done.stderr
    assert "--port 0" in done.stderr


def test_an_archive_that_is_none_is_a_failure_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_text("no archive")

    done = script("deploy.py", "--backend", "process", "--model", tmp_path / "model.tar.gz", "--port", "0")

    assert done.returncode == 1
    assert "not a whole model.tar.gz" in done.stderr
    assert "Traceback" not in done.stderr


def test_invoke_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    nobody = script("invoke.py", tmp_path / "a.jpg", "--url", "http://127.0.0.1:9")
    nothing = script("invoke.py", tmp_path / "b.jpg")

    assert (nobody.returncode, nothing.returncode) == (2, 2)
    assert "no endpoint answers at http://127.0.0.1:9" in nobody.stderr
    assert "b.jpg does not exist" in nothing.stderr


def test_a_wrong_flag_is_wrong_usage() -> None:
    assert script("demo.py", "--data", "x", "--stage", "build").returncode == 2
    assert script("invoke.py", "x.jpg", "--top-k", "9").returncode == 2


def test_the_help_of_a_search_does_not_wait_for_what_only_searches_need() -> None:
    command = [sys.executable, "-X", "importtime", SCRIPTS / "launch_hpo.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "launcher.search_arguments" in imported
    assert not {"matplotlib", "scipy", "sqlalchemy"} & imported


def test_invoke_is_to_libraries_the_library_of_that_name() -> None:
    """Paramiko imports it for ssh:// engines: it found invoke.py, beside the script that was run."""
    program = f"import sys; sys.path[0] = {str(SCRIPTS)!r}; from launcher import docker_engine; import invoke"
    command = [sys.executable, "-c", f"{program}; invoke.run('echo there')"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr


def test_the_demo_trains_serves_and_names_pictures_with_real_toolkits(pictures: Path, tmp_path: Path) -> None:
    (pictures / "DRAWN.txt").write_text("drawn by the test")
    done = script(
        "demo.py",
        *("--backend", "process", "--data", pictures, "--output", tmp_path / "runs", "--examples", "3"),
        *("--backbone", "efficientnet_lite0", "--epochs", "1", "--set", "weights=none"),
        *("--set", "workers=0", "--set", "max-unreadable=0.1", "--stage", "setup=12.5"),
        COLUMNS="120",
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert "DRAWINGS" in done.stdout
    assert "efficientnet_lite0 (weights: none)" in done.stdout
    assert "of 12 test pictures" in done.stdout
    assert "1 unreadable files left out" in done.stdout
    assert "test/002.Green/text.jpg: 400 bad_request" in done.stdout
    assert "the training job measured" in done.stdout
    for stage in ("setup", "train", "deploy", "ask about 13 pictures"):
        assert stage in done.stdout
    for breed in ("Red dog", "Green", "Blue"):
        assert breed in done.stdout
    assert '"path":"/invocations","status":200' in (tmp_path / "runs/latest/endpoint.log").read_text()
    serve_and_ask(tmp_path / "runs/latest/output/model.tar.gz", pictures)


def serve_and_ask(model: Path, pictures: Path) -> None:
    """Serve in the foreground, ask with invoke.py, stop with Ctrl-C."""
    server = subprocess.Popen(
        [sys.executable, SCRIPTS / "deploy.py", "--backend", "process", "--model", model, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout
    url = server.stdout.readline().split(" answers at ")[1].split(";")[0]

    done = script("invoke.py", pictures / "test", "--url", url, "--format", "json", "--top-k", "2")
    server.send_signal(signal.SIGINT)

    answers = json.loads(done.stdout)
    assert done.returncode == 1  # one file is no picture, the others are answered
    assert len(answers) == 13
    assert [len(answer["top"]) for answer in answers if "top" in answer] == [2] * 12
    assert server.wait(60) == 130
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))


def test_a_search_that_cannot_run_here_is_refused_before_its_name_is_taken(
    pictures: Path, tmp_path: Path
) -> None:
    done = script(
        "launch_hpo.py",
        *("--data", pictures, "--backend", "process", "--instances", "2", "--job-name", "dogs"),
        *("--output", tmp_path / "runs"),
    )

    assert done.returncode == 2
    assert "--instances 2: processes have this one host" in done.stderr
    assert not (tmp_path / "runs/dogs").exists()
