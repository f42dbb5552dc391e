"""Looks on while an image's containers do what the platform asks of them; judges nothing.

Called by `examined_image`.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher import layout, requests
from launcher.doctor.limits import Limits
from launcher.doctor.observations import Death, ManyModels, Moved, Serving, Start, Training, TrainingStop
from launcher.doctor.probe import CSV, JPEG, JSON, NPY, OK, Answer, Probe
from launcher.doctor.sandbox import Box, Sandbox

PORT = 8080
OTHER_PORT = 31_234
MODELS_MEMORY = "1g"  # of a multi-model endpoint: small, so that it is soon full
MOST_MODELS = 20
FAILURE, MODEL = "/opt/ml/output/failure", "/opt/ml/model"
_LOOK_SECONDS = 0.1
_AMISS_SECONDS = 5.0  # until a server that listens elsewhere is believed to have no other place
_ABSENT = "never-loaded"


def start(box: Box, probe: Probe, seconds: float) -> Start:
    """Wait until an endpoint is healthy, has ended, or plainly listens where it is not asked."""
    began, answer, fine_at = time.monotonic(), Answer(None), 0.0
    while (elapsed := time.monotonic() - began) < seconds:
        answer = probe.answer_to_ping()
        if answer.whole == OK:
            return Start(time.monotonic() - began, None, "")
        if (code := box.exit_code()) is not None:
            return Start(None, code, box.log())
        if not box.listening().amiss(probe.port):
            fine_at = elapsed
        elif elapsed - fine_at > _AMISS_SECONDS:
            break
        time.sleep(_LOOK_SECONDS if elapsed < 30 else 1.0)
    ping = answer.trouble or f"answered {answer.status}"
    return Start(None, None, box.log(), ping, box.listening())


def serving(box: Box, limits: Limits) -> Serving:
    """See an endpoint's whole life."""
    probe = Probe(box.address, PORT)
    started = start(box, probe, limits.startup_seconds)
    if started.healthy_after is None:
        return Serving(started)
    answers = _first_and_settled(probe, limits.settling_seconds)
    marker = f"/tmp/doctor-{secrets.token_hex(8)}"  # noqa: S108 - in the container
    connect, ping = probe.connect_seconds(), probe.ping_seconds()
    sent = {JSON: answers[1], NPY: probe.send_pickle(marker)}
    unpickled = box.has(marker)
    if all(map(is_refusal, sent.values())) and None not in sent.values():  # else a minute each
        sent |= {kind: probe.invoke(kind=kind) for kind in (CSV, JPEG)}
    return Serving(
        started,
        answers=answers,
        sent=sent,
        connect_seconds=connect,
        ping_seconds=ping,
        unpickled=unpickled,
        stopped_after=box.obeys_within(limits.serve_stop_seconds, handler_seconds=limits.handler_seconds),
    )


def _first_and_settled(probe: Probe, seconds: float) -> tuple[int | None, int | None]:
    """Ask at once and, as long as there is an error, again."""
    first = settled = probe.invoke()
    deadline = time.monotonic() + seconds
    while is_failure(settled) and time.monotonic() < deadline:
        time.sleep(5 * _LOOK_SECONDS)
        settled = probe.invoke()
    return first, settled


def is_failure(status: int | None) -> bool:
    """Tell whether it is the server's fault, not the request's."""
    return status is None or status >= 500


def is_refusal(status: int | None) -> bool:
    """Tell whether it is no answer to what was sent: a failure, or that there is no such place."""
    return is_failure(status) or status == 404


def moved(box: Box, limits: Limits) -> Moved:
    """See where an endpoint listens that was told OTHER_PORT, and what becomes of it when it dies."""
    probes = {port: Probe(box.address, port) for port in (OTHER_PORT, PORT)}
    deadline = time.monotonic() + limits.startup_seconds
    while box.exit_code() is None and time.monotonic() < deadline:
        for port, probe in probes.items():
            if probe.ping() == OK:
                return Moved(OTHER_PORT, port, "", _death(box, probe, limits.death_seconds))
        time.sleep(_LOOK_SECONDS)
    return Moved(OTHER_PORT, None, box.log(), None)


def _death(box: Box, probe: Probe, seconds: float) -> Death:
    """Kill its processes and look until it is honest about it: it has ended, says so, or is as it was."""
    before = probe.invoke()
    if not (killed := box.kill_all_but_the_first()):
        return Death(killed)
    deadline, seen = time.monotonic() + seconds, Death(killed)
    as_before = 0
    while time.monotonic() < deadline and as_before < 3:
        time.sleep(3 * _LOOK_SECONDS)
        if (code := box.exit_code()) is not None:
            return Death(killed, code)
        seen = Death(killed, None, probe.ping(), probe.invoke(), before)
        if seen.ping != OK:
            return seen
        as_before = as_before + 1 if seen.answer == before else 0
    return seen


def many_models(box: Box, limits: Limits, model: str) -> ManyModels:
    """See how an endpoint takes the platform's requests for models; `model` is the folder of one."""
    probe = Probe(box.address, PORT)
    started = start(box, probe, limits.startup_seconds)
    if started.healthy_after is None:
        return ManyModels(started)

    def load(name: str) -> int | None:
        return probe.send_json("/models", {"model_name": name, "url": model})

    unknown = {
        "GET /models/{model_name}": probe.ask("GET", f"/models/{_ABSENT}"),
        "POST /models/{model_name}/invoke": probe.invoke(f"/models/{_ABSENT}/invoke"),
        "DELETE /models/{model_name}": probe.ask("DELETE", f"/models/{_ABSENT}"),
    }
    loaded, twice = load("doctor"), load("doctor")
    if loaded != OK:
        return ManyModels(started, loaded, unknown, twice, exit_code=box.exit_code())
    loads, full = 0, None
    while loads < MOST_MODELS and full is None:
        loads += 1
        status = load(f"doctor-{loads}")
        full = None if status == OK else (status or 0)
    return ManyModels(started, loaded, unknown, twice, loads, full, box.exit_code())


@contextmanager
def job(folder: Path, *, hosts: int, training: Path | None) -> Iterator[dict[str, Path]]:
    """Lay out what the first of so many hosts finds below /opt/ml; `folder` is one of our own."""
    request = requests.training_job(
        name="doctor",
        image="examined",
        channels={"training": (training or folder).as_uri()},
        hyperparameters={},
        metric_definitions=[],
        output_uri=folder.as_uri(),
    )
    names = [f"algo-{number + 1}" for number in range(hosts)]
    layout.write(request, {name: folder / name for name in names}, None)
    channel = folder / names[0] / "input/data/training"
    channel.mkdir(parents=True)
    yield {"/opt/ml": folder / names[0]} | ({"/opt/ml/input/data/training": training} if training else {})


def training(box: Box, seconds: float) -> Training:
    """See how a job ends that finds nothing in its data."""
    code = box.ended_within(seconds)
    failure = box.read(FAILURE)
    told = None if failure is None else failure.decode(errors="replace")
    return Training(code, told, box.log(), box.has_files(MODEL))


def training_stop(box: Box, limits: Limits) -> TrainingStop:
    """See how a job takes SIGTERM."""
    code = box.ended_within(limits.running_seconds)
    if code is not None:
        return TrainingStop(code, None, box.log())
    stopped = box.obeys_within(limits.train_stop_seconds, handler_seconds=limits.handler_seconds)
    return TrainingStop(None, stopped, box.log())


def word(sandbox: Sandbox, text: str, seconds: float) -> Training:
    """See what an image does with a word that means nothing."""
    with sandbox.running(text) as box:
        return Training(box.ended_within(seconds), None, box.log())
