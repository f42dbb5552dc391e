"""Starts multi-model-server, watches it, stops it, and exits honestly.

Called by `serve.py`. sagemaker-inference's own starter is replaced: it exits 0 when Java is killed, writes
to /etc, finds its server by scanning the host's processes, and lets `/ping` answer for a broken model.
"""

import contextlib
import errno
import importlib.util
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from predictor.java import JavaNotFoundError, find_java
from predictor.processes import Children, Ended, StopRequested
from predictor.settings import ADDRESS_VARIABLE, READY_VARIABLE, THREADS_VARIABLE, ServerSettings

MODEL_NAME = "model"
_CODE_FOLDER = Path(__file__).resolve().parents[1]  # handler_service.py and inference.py lie there
_STOP_GRACE = 10.0  # seconds; the platform kills 30 s after SIGTERM
_SOCKET_PATH_LIMIT = 60  # characters of folder name; a socket's whole path may have 107


class ServeError(Exception):
    """The server cannot be started, or has died; the message says why and what to do."""


def serve(settings: ServerSettings, environment: Mapping[str, str]) -> None:
    """Check the model, run the model server until it is asked to stop; returns after a clean stop.

    Raises `ServeError` in every other case. No process is left behind.
    """
    started = time.monotonic()
    _check_port(settings.address, settings.port)
    java = _find_java(environment)
    with _private_folder() as folder, Children() as children:
        if not _check_model(children, settings, environment):
            return
        server = children.start(
            server_command(java, settings, folder), server_environment(settings, environment, folder)
        )
        if not _wait_until_ready(children, server, settings, folder):
            return
        print(
            f"serve: ready on port {settings.port} after {time.monotonic() - started:.1f} s, "
            f"{settings.workers} workers × {settings.threads_per_worker} threads",
            flush=True,
        )
        _watch(children, server)


def _check_port(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ServeError(
                    f"{ADDRESS_VARIABLE} is {address}, which is no address of this machine. "
                    "Set it to one, or to 0.0.0.0 for all of them."
                ) from error
            raise ServeError(
                f"port {port} cannot be used: {error.strerror}. "
                "Stop what listens there, or set SAGEMAKER_BIND_TO_PORT to another port."
            ) from error


def _find_java(environment: Mapping[str, str]) -> Path:
    try:
        return find_java(environment)
    except JavaNotFoundError as error:
        raise ServeError(str(error)) from error


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder of this server's own: configuration, sockets, temporary files of Java and the workers."""
    try:
        base = tempfile.gettempdir()
        if len(base) > _SOCKET_PATH_LIMIT:
            base = "/tmp"  # noqa: S108 - the folder made in it is private
        created = tempfile.TemporaryDirectory(prefix="serve-", dir=base, ignore_cleanup_errors=True)
    except OSError as error:
        raise ServeError(
            f"no temporary folder can be made: {error.strerror}. Make /tmp writable, or set TMPDIR."
        ) from error
    with created as folder:
        _check_executable(base)
        yield Path(folder)


def _check_executable(folder: str) -> None:
    """Java unpacks native code into the temporary folder and loads it from there."""
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise ServeError(
            f"the temporary folder {folder} is mounted noexec, and the model server must load code from it. "
            "Mount it with exec, e.g. `docker run --tmpfs /tmp:exec`, or set TMPDIR to another folder."
        )


def _check_model(children: Children, settings: ServerSettings, environment: Mapping[str, str]) -> bool:
    """Run the self-test; False when a stop was requested meanwhile."""
    command = [sys.executable, "-m", "predictor.selftest", str(settings.model_dir)]
    outcome = children.wait(children.start(command, _python_environment(settings, environment)))
    if isinstance(outcome, Ended) and outcome.code != 0:
        raise ServeError(f"the model in {settings.model_dir} was refused; the server is not started")
    return isinstance(outcome, Ended)


def _wait_until_ready(children: Children, server: int, settings: ServerSettings, folder: Path) -> bool:
    """Wait until every worker has loaded the model; False when a stop was requested meanwhile.

    The workers say so themselves, by a file each: to the management API every worker is READY from the start.
    """
    deadline = time.monotonic() + settings.startup_timeout
    while len(list(_ready_folder(folder).iterdir())) < settings.workers:
        if time.monotonic() > deadline:
            raise ServeError(
                f"the workers did not load the model within {settings.startup_timeout} s; the log above says "
                "why. SAGEMAKER_STARTUP_TIMEOUT sets the limit."
            )
        outcome = children.wait(server, timeout=0.05)
        if outcome is not None:
            _finish(children, server, outcome)
            return False
    return True


def _watch(children: Children, server: int) -> None:
    outcome = children.wait(server)
    if outcome is not None:
        _finish(children, server, outcome)


def _finish(children: Children, server: int, outcome: Ended | StopRequested) -> None:
    """Stop the server if that was asked for; raise if it ended by itself."""
    if isinstance(outcome, Ended):
        how = (
            f"was killed by signal {-outcome.code}" if outcome.code < 0 else f"ended with code {outcome.code}"
        )
        raise ServeError(f"the model server {how}; nothing is served any more. The log above may say why.")
    print(f"serve: stopping on {outcome.signal.name}", flush=True)
    children.stop(server, grace=_STOP_GRACE)


def _ready_folder(folder: Path) -> Path:
    return folder / "ready"


def server_configuration(settings: ServerSettings, folder: Path) -> str:
    """The content of multi-model-server's configuration file."""
    values = {
        "inference_address": f"http://{settings.address}:{settings.port}",
        "management_address": f"unix:{folder}/management.sock",  # only this user can reach it
        "model_store": folder / "store",
        # An empty folder: the server puts it on the workers' PYTHONPATH, and a model is data, not code.
        "load_models": f"{MODEL_NAME}={MODEL_NAME}",
        "default_service_handler": "handler_service",
        "default_workers_per_model": settings.workers,
        "default_response_timeout_seconds": settings.response_timeout,
        "max_request_size": settings.max_payload,
        "max_response_size": settings.max_payload,
        "decode_input_request": "false",
        "number_of_gpu": 0,  # otherwise nvidia-smi is asked
        "metric_time_interval": 2_147_483_647,  # each collection is a Python process; nobody reads them
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def server_command(java: Path, settings: ServerSettings, folder: Path) -> list[str]:
    """Write the configuration into `folder`; return the command that `multi-model-server --start` runs."""
    _ready_folder(folder).mkdir()
    (folder / "store" / MODEL_NAME).mkdir(parents=True)
    configuration = folder / "server.properties"
    configuration.write_text(server_configuration(settings, folder))
    package = importlib.util.find_spec("mms")
    if package is None or package.origin is None:
        raise ServeError("multi-model-server is not installed. `pip install multi-model-server==1.1.11`.")
    mms = Path(package.origin).parent
    return [
        str(java),
        f"-Dmodel_server_home={mms.parent}",
        f"-Djava.io.tmpdir={folder}",
        f"-Dlog4j.configurationFile={(Path(__file__).parent / 'log4j2.xml').as_uri()}",
        "-Dlog4j2.disableJmx=true",
        "-XX:+UseSerialGC",  # it passes bytes on: the smallest collector and the quick compiler suffice
        "-XX:TieredStopAtLevel=1",
        *settings.java_options,
        "-cp",
        f"{mms}/frontend/*",
        "com.amazonaws.ml.mms.ModelServer",
        "--python",
        sys.executable,
        "-f",
        str(configuration),
    ]


def server_environment(
    settings: ServerSettings, environment: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """The environment of Java and, through it, of the workers."""
    kept = {name: value for name, value in environment.items() if not name.startswith("MMS_")}
    return _python_environment(settings, kept) | {
        "TMPDIR": str(folder),
        "LOG_LOCATION": str(folder),
        "SAGEMAKER_PROGRAM": "inference.py",
        READY_VARIABLE: str(_ready_folder(folder)),
    }


def _python_environment(settings: ServerSettings, environment: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(_CODE_FOLDER), environment.get("PYTHONPATH")]))
    return {
        **environment,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        THREADS_VARIABLE: str(settings.threads_per_worker),
    }
