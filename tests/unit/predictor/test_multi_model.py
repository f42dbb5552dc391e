"""A multi-model endpoint, driven as the platform drives one: the section Multi-model of `docs/http.md`."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from running_server import Answer, RunningServer
from tiny_artifact import CLASSES, description, write_description, write_tiny_artifact

MULTI_MODEL = {"SAGEMAKER_MULTI_MODEL": "true"}


@pytest.fixture(scope="module")
def models_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three intact models below `models`, told apart by the number of their classes."""
    base = tmp_path_factory.mktemp("opt-ml")
    for count, name in enumerate("abc", start=3):
        write_tiny_artifact(base / "models" / name / "model", classes=CLASSES[:count])
    return base


@pytest.fixture(scope="module")
def running(models_base: Path) -> Iterator[RunningServer]:
    """A multi-model endpoint for all tests here; each unloads what it has loaded."""
    with RunningServer(models_base, **MULTI_MODEL) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def endpoint(running: RunningServer) -> Iterator[RunningServer]:
    """The same without any models, before and after."""
    yield running
    for model in running.ask(method="GET", path="/models").json()["models"]:
        assert _unload(running, model["modelName"]).status == 200


def _load(server: RunningServer, name: str, folder: Path) -> Answer:
    return server.ask(json.dumps({"model_name": name, "url": str(folder)}).encode(), path="/models")


def _unload(server: RunningServer, name: str) -> Answer:
    return server.ask(method="DELETE", path=f"/models/{name}")


def _invoke(server: RunningServer, name: str, jpeg: bytes) -> Answer:
    return server.ask(jpeg, path=f"/models/{name}/invoke", Content_Type="image/jpeg")


def _names(server: RunningServer) -> list[str]:
    return [model["modelName"] for model in server.ask(method="GET", path="/models").json()["models"]]


def _model(base: Path, name: str) -> Path:
    return base / "models" / name / "model"


def _error(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["code"]


class _Asking:
    """Clients that ask one model, one picture after the other, until told to end; counts the answers."""

    def __init__(self, server: RunningServer, name: str, jpeg: bytes, *, clients: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.classes: set[int] = set()
        self._ask = lambda: _invoke(server, name, jpeg)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(clients)]

    def __enter__(self) -> "_Asking":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, status: int, count: int) -> None:
        enough, deadline = self.statuses[status] + count, time.monotonic() + 60
        while self.statuses[status] < enough:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.01)

    def _ask_on(self) -> None:
        while not self._ended.is_set():
            answer = self._ask()
            self.statuses[answer.status] += 1
            if answer.status == 200:
                self.classes.add(len(answer.json()["predictions"][0]["top"]))


def test_it_listens_without_a_model_and_says_so(endpoint: RunningServer) -> None:
    assert endpoint.ask(method="GET", path="/ping").status == 200
    assert endpoint.ask(method="GET", path="/models").json() == {"models": []}


def test_a_model_is_loaded_described_asked_and_unloaded(
    endpoint: RunningServer, models_base: Path, jpeg: bytes
) -> None:
    described = {"modelName": "a", "modelUrl": str(_model(models_base, "a"))}
    assert _error(_invoke(endpoint, "a", jpeg)) == (404, "not_found")
    loaded = _load(endpoint, "a", _model(models_base, "a"))
    assert (loaded.status, loaded.json()) == (200, described)
    assert endpoint.ask(method="GET", path="/models/a").json() == described
    answer = _invoke(endpoint, "a", jpeg)
    assert (answer.status, len(answer.json()["predictions"][0]["top"])) == (200, 3)
    unloaded = _unload(endpoint, "a")
    assert (unloaded.status, unloaded.json()) == (200, described)
    assert _error(endpoint.ask(method="GET", path="/models/a")) == (404, "not_found")
    assert _error(_invoke(endpoint, "a", jpeg)) == (404, "not_found")
    assert _error(_unload(endpoint, "a")) == (404, "not_found")


def test_a_model_that_is_loaded_already_is_409_and_goes_on(
    endpoint: RunningServer, models_base: Path, jpeg: bytes
) -> None:
    assert _load(endpoint, "a", _model(models_base, "a")).status == 200
    assert _error(_load(endpoint, "a", _model(models_base, "b"))) == (409, "already_loaded")
    assert _invoke(endpoint, "a", jpeg).status == 200


def test_the_list_comes_in_pages(endpoint: RunningServer, models_base: Path) -> None:
    for name in ("b", "c", "a"):
        assert _load(endpoint, name, _model(models_base, name)).status == 200
    first = endpoint.ask(method="GET", path="/models?limit=2").json()
    token = first["nextPageToken"]
    second = endpoint.ask(method="GET", path=f"/models?limit=2&next_page_token={token}").json()
    assert [model["modelName"] for model in first["models"]] == ["a", "b"]
    assert [model["modelName"] for model in second["models"]] == ["c"]
    assert "nextPageToken" not in second
    assert _error(endpoint.ask(method="GET", path="/models?limit=0")) == (400, "bad_request")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"model_name": "a"}',
        b'{"model_name": 1, "url": "/x"}',
        *(
            json.dumps({"model_name": name, "url": "/x"}).encode()
            for name in ("", ".", "../a", "a/b", "a b", "a\n", "x" * 201)
        ),
    ],
)
def test_what_describes_no_model_is_400(endpoint: RunningServer, body: bytes) -> None:
    assert _error(endpoint.ask(body, path="/models")) == (400, "bad_request")


def test_a_url_outside_the_models_folder_is_400(
    endpoint: RunningServer, models_base: Path, tmp_path: Path
) -> None:
    outside = write_tiny_artifact(tmp_path / "model")
    link = models_base / "models" / "link"
    link.symlink_to(outside)
    for url in (
        outside,
        link,
        models_base / "models",
        models_base / "models/../model",
        "models/a",
        "http://x/a.mar",
    ):
        answer = endpoint.ask(json.dumps({"model_name": "x", "url": str(url)}).encode(), path="/models")
        assert _error(answer) == (400, "bad_request"), url
    link.unlink()


def test_a_description_above_16_kib_is_413(endpoint: RunningServer) -> None:
    assert _error(endpoint.ask(b" " * 17_000, path="/models")) == (413, "too_large")


def test_only_the_platforms_routes_are_open(endpoint: RunningServer, models_base: Path) -> None:
    _load(endpoint, "a", _model(models_base, "a"))
    for method, path, status in (
        ("POST", "/invocations", 404),
        ("GET", "/execution-parameters", 404),
        ("POST", "/predictions/a", 404),
        ("GET", "/models/a/b", 404),
        ("GET", "/models/..%2fmodels%2fb", 404),
        ("PUT", "/models/a", 405),
        ("POST", "/models/a", 405),
        ("DELETE", "/models", 405),
        ("GET", "/models/a/invoke", 405),
    ):
        answer = endpoint.ask(b"{}", method=method, path=path)
        assert answer.status == status, (method, path)
        assert set(answer.json()["error"]) == {"code", "message"}


def test_broken_models_are_refused_by_the_file_and_the_others_answer_on(
    endpoint: RunningServer, models_base: Path, jpeg: bytes
) -> None:
    altered = write_tiny_artifact(models_base / "models/altered/model")
    (altered / "model.bin").write_bytes((altered / "model.bin").read_bytes()[:-1] + b"\0")
    differing = write_tiny_artifact(models_base / "models/differing/model")
    np.save(differing / "selftest_logits.npy", np.load(differing / "selftest_logits.npy")[:, ::-1])
    write_description(differing, description(differing))
    _load(endpoint, "a", _model(models_base, "a"))
    for folder, said in (
        (altered, "the file was altered: its SHA-256 differs (model.bin)"),
        (differing, "the self-test differs by"),
        (models_base / "models/missing/model", "artifact.json: is missing (artifact.json)"),
    ):
        answer = _load(endpoint, "broken", folder)
        assert _error(answer) == (400, "unservable_model")
        assert said in answer.json()["error"]["message"]
        assert str(models_base) not in answer.json()["error"]["message"]
        assert str(folder) in endpoint.log.read_text()
        assert _error(_invoke(endpoint, "broken", jpeg)) == (404, "not_found")
    assert _names(endpoint) == ["a"]
    assert _invoke(endpoint, "a", jpeg).status == 200
    assert _load(endpoint, "broken", _model(models_base, "b")).status == 200  # the name is not used up


def test_code_in_a_models_folder_is_not_run(
    endpoint: RunningServer, models_base: Path, tmp_path: Path, jpeg: bytes
) -> None:
    folder = write_tiny_artifact(models_base / "models/code/model")
    for place in ("inference.py", "handler_service.py", "numpy.py", "code/inference.py", "sitecustomize.py"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\n")
    (folder / "MAR-INF").mkdir()
    manifest = {"runtime": "python", "model": {"modelName": "x", "handler": "inference.py:handle"}}
    for place in ("MANIFEST.json", "MAR-INF/MANIFEST.json"):
        (folder / place).write_text(json.dumps(manifest))
    body = {
        "model_name": "code",
        "url": str(folder),
        "handler": "os:abort",
        "runtime": "sh",
        "preload_model": "true",
    }
    assert endpoint.ask(json.dumps(body).encode(), path="/models").status == 200
    assert _invoke(endpoint, "code", jpeg).status == 200
    assert not (tmp_path / "owned").exists()


def test_three_models_answer_for_themselves_under_several_clients_each(
    endpoint: RunningServer, models_base: Path, jpeg: bytes
) -> None:
    for name in "abc":
        assert _load(endpoint, name, _model(models_base, name)).status == 200
    asked = [_Asking(endpoint, name, jpeg, clients=4) for name in "abc"]
    with asked[0], asked[1], asked[2]:
        for each in asked:
            each.wait_for(200, 60)
    assert [each.classes for each in asked] == [{3}, {4}, {5}]
    assert all(set(each.statuses) == {200} for each in asked)


def test_a_model_that_is_being_asked_is_unloaded_without_losing_an_answer_and_gives_its_memory_back(
    endpoint: RunningServer, models_base: Path, jpeg: bytes
) -> None:
    for name in "ab":
        assert _load(endpoint, name, _model(models_base, name)).status == 200
    of_a = [process for process in endpoint.descendants() if _serves(process, "a")]
    with (
        _Asking(endpoint, "a", jpeg, clients=8) as leaving,
        _Asking(endpoint, "b", jpeg, clients=2) as staying,
    ):
        leaving.wait_for(200, 40)
        assert _unload(endpoint, "a").status == 200
        leaving.wait_for(404, 40)
        staying.wait_for(200, 20)
    assert set(leaving.statuses) == {200, 404}
    assert set(staying.statuses) == {200}
    assert len(of_a) == 2
    assert not psutil.wait_procs(of_a, timeout=10)[1]


def _serves(process: psutil.Process, name: str) -> bool:
    return f"--model-name {name} " in " ".join(process.cmdline())


def test_models_that_are_loaded_at_once_by_one_name_are_loaded_once(
    endpoint: RunningServer, models_base: Path
) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(_load(endpoint, "a", _model(models_base, "a")).status)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 409, 409, 409]
    assert _names(endpoint) == ["a"]


def test_a_killed_worker_is_back_and_costs_only_what_it_held(
    endpoint: RunningServer, models_base: Path, jpeg: bytes
) -> None:
    for name in "ab":
        assert _load(endpoint, name, _model(models_base, name)).status == 200
    with (
        _Asking(endpoint, "a", jpeg, clients=2) as hit,
        _Asking(endpoint, "b", jpeg, clients=2) as other,
    ):
        hit.wait_for(200, 10)
        next(worker for worker in endpoint.workers() if _serves(worker, "a")).kill()
        hit.wait_for(200, 20)
        other.wait_for(200, 20)
    assert hit.statuses.keys() <= {200, 500}
    assert hit.statuses[500] <= 1
    assert set(other.statuses) == {200}


def test_a_model_that_is_damaged_while_it_is_served_is_unloaded_alone_and_can_be_loaded_again(
    endpoint: RunningServer, models_base: Path, jpeg: bytes
) -> None:
    folder = write_tiny_artifact(models_base / "models/damaged/model")
    assert _load(endpoint, "damaged", folder).status == 200
    assert _load(endpoint, "b", _model(models_base, "b")).status == 200
    weights = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(b"")
    next(worker for worker in endpoint.workers() if _serves(worker, "damaged")).kill()
    deadline = time.monotonic() + 20
    while _names(endpoint) != ["b"]:
        assert time.monotonic() < deadline, endpoint.log.read_text()
        time.sleep(0.1)
    assert _error(_invoke(endpoint, "damaged", jpeg)) == (404, "not_found")
    assert "serve: damaged is unloaded: " in endpoint.log.read_text()
    assert _invoke(endpoint, "b", jpeg).status == 200
    (folder / "model.bin").write_bytes(weights)
    assert _load(endpoint, "damaged", folder).status == 200
    assert _invoke(endpoint, "damaged", jpeg).status == 200


def test_the_log_names_the_model_as_its_client_does(
    endpoint: RunningServer, models_base: Path, jpeg: bytes
) -> None:
    _load(endpoint, "a", _model(models_base, "a"))
    answer = endpoint.ask(
        jpeg,
        path="/models/a/invoke",
        Content_Type="image/jpeg",
        X_Amzn_SageMaker_Target_Model='dogs-"7".tar.gz',
    )
    (line,) = endpoint.logged(answer)
    entry = json.loads(line)
    assert (entry["path"], entry["status"], entry["target"]) == ("/models/a/invoke", 200, 'dogs-"7".tar.gz')


def test_only_the_port_given_is_open_with_models_and_a_range_of_ports(models_base: Path, jpeg: bytes) -> None:
    with RunningServer(models_base, **MULTI_MODEL, SAGEMAKER_SAFE_PORT_RANGE="21000-21999") as running:
        running.wait_until_ready()
        for name in "ab":
            assert _load(running, name, _model(models_base, name)).status == 200
        listening = {
            connection.laddr.port
            for process in running.descendants()
            for connection in process.net_connections("inet")
            if connection.status == "LISTEN"
        }
        assert listening == {running.port}


def test_a_stop_while_models_are_loaded_and_asked_exits_0_and_leaves_nothing(
    models_base: Path, jpeg: bytes
) -> None:
    with RunningServer(models_base, **MULTI_MODEL) as running:
        running.wait_until_ready()
        assert _load(running, "a", _model(models_base, "a")).status == 200
        assert _invoke(running, "a", jpeg).status == 200
        loading = threading.Thread(target=_load, args=(running, "b", _model(models_base, "b")))
        loading.start()
        below = running.descendants()
        running.process.terminate()
        assert running.process.wait(timeout=30) == 0
        loading.join()
    assert not psutil.wait_procs(below, timeout=5)[1]


@pytest.mark.parametrize("value", ["yes", "1"])
def test_what_is_neither_true_nor_false_is_refused(models_base: Path, value: str) -> None:
    with RunningServer(models_base, SAGEMAKER_MULTI_MODEL=value) as running:
        assert running.process.wait(timeout=30) == 2
    assert f"SAGEMAKER_MULTI_MODEL is '{value}'; it must be true or false" in running.log.read_text()
