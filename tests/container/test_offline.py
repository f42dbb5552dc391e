"""Once the images are built nothing is downloaded: train, serve and predict run with `--network none`."""

import json
from pathlib import Path

import docker
from docker.models.containers import Container
from project import DRAWN, SERVE, TRAIN, DemoRun, folder, wait_until_ready

ASK = (
    "import sys, urllib.request as r;"
    "picture = open(sys.argv[1], 'rb').read();"
    "q = r.Request('http://127.0.0.1:8080/invocations', picture, {'Content-Type': 'image/jpeg'});"
    "print(r.urlopen(q, timeout=60).read().decode())"
)


def jpeg_of(split: str) -> Path:
    """Some drawing of a split, relative to the set."""
    return min((DRAWN / split).rglob("*.jpg")).relative_to(DRAWN)


LOCKED = {"network_mode": "none", "read_only": True, "tmpfs": {"/tmp": "exec"}, "cap_drop": ["ALL"]}  # noqa: S108


def test_the_endpoint_answers_the_same_however_little_it_may(
    demo: DemoRun, engine: docker.DockerClient, containers: list[Container]
) -> None:
    answers = []
    for settings in ({"network_mode": "none"}, LOCKED, LOCKED | {"user": "12345:12345"}, {"user": "12345"}):
        volumes = folder(demo.job / "model", "/opt/ml/model") | folder(DRAWN, "/data")
        server = engine.containers.run(SERVE, "serve", volumes=volumes, detach=True, **settings)
        containers.append(server)
        wait_until_ready(server)
        code, output = server.exec_run(["python", "-c", ASK, f"/data/{jpeg_of('test')}"])
        assert code == 0, output.decode()
        answers.append(json.loads(output))
        server.stop(timeout=25)
        assert server.wait()["StatusCode"] == 0
        assert "Exception" not in server.logs().decode()

    assert len(answers[0]["predictions"][0]["top"]) == 5
    assert all(answer == answers[0] for answer in answers)


def test_predict_answers_the_others_when_a_file_is_unreadable(
    demo: DemoRun, engine: docker.DockerClient, containers: list[Container], tmp_path: Path
) -> None:
    (tmp_path / "whole.jpg").write_bytes((DRAWN / jpeg_of("test")).read_bytes())
    (tmp_path / "broken.jpg").write_bytes((DRAWN / jpeg_of("test")).read_bytes()[:1000])
    volumes = folder(demo.job / "model", "/opt/ml/model") | folder(tmp_path, "/data")
    run = engine.containers.run(
        SERVE, ["predict", "/data", "--format", "json"], volumes=volumes, network_mode="none", detach=True
    )
    containers.append(run)

    code = run.wait(timeout=120)["StatusCode"]

    answers = {Path(each["file"]).name: each for each in json.loads(run.logs(stderr=False))}
    assert code == 1
    assert "error" in answers["broken.jpg"]
    assert len(answers["whole.jpg"]["top"]) == 5


def test_training_on_a_full_disk_says_so_and_leaves_no_model(
    images: docker.DockerClient, containers: list[Container], tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    hyperparameters = {"backbone": "efficientnet_lite0", "epochs": "1", "batch-size": "32"}
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "inputdataconfig.json").write_text(json.dumps({"training": {"TrainingInputMode": "File"}}))
    (config / "resourceconfig.json").write_text(
        json.dumps({"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"})
    )
    output = tmp_path / "output"
    output.mkdir()
    volumes = (
        folder(config, "/opt/ml/input/config")
        | folder(DRAWN, "/opt/ml/input/data/training")
        | folder(output, "/opt/ml/output", "rw")
    )
    job = images.containers.run(
        TRAIN,
        "train",
        volumes=volumes,
        tmpfs={"/opt/ml/model": "size=1m"},
        hostname="algo-1",
        extra_hosts={"algo-1": "127.0.0.1"},
        network_mode="none",
        shm_size="1g",
        detach=True,
    )
    containers.append(job)

    code = job.wait(timeout=600)["StatusCode"]

    assert code == 1
    failure = (output / "failure").read_text()
    assert failure.startswith("the disk of /opt/ml/model is full")


def test_a_model_altered_by_one_byte_is_never_served(
    demo: DemoRun, engine: docker.DockerClient, containers: list[Container], tmp_path: Path
) -> None:
    for file in (demo.job / "model").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = bytearray((tmp_path / "model.bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "model.bin").write_bytes(weights)
    server = engine.containers.run(SERVE, "serve", volumes=folder(tmp_path, "/opt/ml/model"), detach=True)
    containers.append(server)

    code = server.wait(timeout=60)["StatusCode"]

    assert code != 0
    assert "model.bin" in server.logs().decode()
