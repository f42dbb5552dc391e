"""Starts the model server and nginx in front of it, watches them, stops them, and exits honestly.

Called by `serve.py`. sagemaker-inference's own starter is replaced: it exits 0 when Java is killed, writes
to /etc, finds its server by scanning the host's processes, and lets `/ping` answer for a broken model.
Nothing listens before a request has really been answered, and nothing goes on listening once no more can be.
"""

import contextlib
import errno
import fcntl
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from predictor.front import DRAIN_SECONDS, NginxNotFoundError, find_nginx, front_command
from predictor.java import JavaNotFoundError, find_java
from predictor.model_server import ModelServer
from predictor.one_model import MODEL_NAME, OneModel
from predictor.processes import Children, Ended, StopRequested
from predictor.readiness import FOLDER_VARIABLE
from predictor.served import Served, ServeError
from predictor.settings import ADDRESS_VARIABLE, THREADS_VARIABLE, ServerSettings

_CODE_FOLDER = Path(__file__).resolve().parents[1]  # handler_service.py and inference.py lie there
_STOP_GRACE = 2.0  # seconds for the model server, once nothing is left to answer
_LOOK_SECONDS = 0.25  # between two looks at the workers
_SOCKET_PATH_LIMIT = 60  # characters of folder name; a socket's whole path may have 107
# It passes bytes on: the smallest collector and the quick compiler suffice, and a heap that stays as small
# as what is being passed on lets it. Together they save half of 160 MB.
_FRUGAL_JAVA = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xms16m",
    "-Xmn8m",
    "-XX:MinHeapFreeRatio=10",
    "-XX:MaxHeapFreeRatio=20",
    "-Xss512k",
    "-Dio.netty.allocator.numDirectArenas=1",
    "-Dio.netty.allocator.numHeapArenas=1",
)


def serve(settings: ServerSettings, environment: Mapping[str, str]) -> None:
    """Run the model server and its front until they are asked to stop; returns after a clean stop.

    Raises `ServeError` in every other case. No process is left behind.
    """
    started = time.monotonic()
    _append_to_log()
    _check_port(settings.address, settings.port)
    java, nginx = _find_programs(environment)
    with _private_folder() as folder, Children() as children:
        model_server = ModelServer(folder, settings.response_timeout)
        served = _served(settings, model_server, folder / "ready")
        server = children.start(
            server_command(java, settings, model_server),
            server_environment(settings, environment, folder / "ready"),
        )
        if not _wait_until_loaded(children, server, served):
            return
        served.open()
        front = children.start(
            front_command(nginx, settings, folder, socket=model_server.inference_socket), environment
        )
        if not _wait_until_listening(children, front, settings):
            return
        print(
            f"serve: ready on port {settings.port} after {time.monotonic() - started:.1f} s, "
            f"{settings.workers} workers × {settings.threads_per_worker} threads",
            flush=True,
        )
        stop = _watch(children, server, front, served)
        print(f"serve: stopping on {stop.signal.name}", flush=True)
        children.stop(front, grace=DRAIN_SECONDS + 1, request=signal.SIGQUIT)  # answers what it has accepted
        children.stop(server, grace=_STOP_GRACE)


def _append_to_log() -> None:
    """Let everything that is written to standard output go to its end: nginx opens it a second time."""
    fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_APPEND)


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


def _find_programs(environment: Mapping[str, str]) -> tuple[Path, Path]:
    try:
        return find_java(environment), find_nginx(environment)
    except (JavaNotFoundError, NginxNotFoundError) as error:
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


def _served(settings: ServerSettings, model_server: ModelServer, readiness: Path) -> Served:
    if not settings.models_dir:
        return OneModel(settings, model_server, readiness)
    from predictor.many_models import ManyModels  # noqa: PLC0415 - where it is not needed it costs 30 ms

    return ManyModels(settings, settings.models_dir, model_server=model_server, readiness=readiness)


def _wait_until_loaded(children: Children, server: int, served: Served) -> bool:
    """Wait until there is something to be asked; False when a stop was requested meanwhile."""
    while not served.is_loaded():
        outcome = children.wait(server, timeout=0.02)
        if isinstance(outcome, Ended):
            raise _died("the model server", outcome)
        if outcome:
            return False
    return True


def _wait_until_listening(children: Children, front: int, settings: ServerSettings) -> bool:
    """Wait until nginx accepts connections; False when a stop was requested meanwhile."""
    while True:
        outcome = children.wait(front, timeout=0.01)
        if isinstance(outcome, Ended):
            raise _died("nginx", outcome)
        if outcome:
            return False
        with socket.socket() as probe:
            host = "127.0.0.1" if settings.address == "0.0.0.0" else settings.address  # noqa: S104
            if probe.connect_ex((host, settings.port)) == 0:
                return True


def _watch(children: Children, server: int, front: int, served: Served) -> StopRequested:
    """Watch until a stop is requested; raises `ServeError` once requests can no longer be answered."""
    names = {server: "the model server", front: "nginx"}
    while True:
        outcome = children.wait(server, front, timeout=_LOOK_SECONDS)
        if isinstance(outcome, Ended):
            raise _died(names[outcome.process], outcome)
        if outcome:
            return outcome
        served.look()


def _died(name: str, outcome: Ended) -> ServeError:
    how = f"was killed by signal {-outcome.code}" if outcome.code < 0 else f"ended with code {outcome.code}"
    return ServeError(f"{name} {how}; nothing is served any more. The log above may say why.")


def server_configuration(settings: ServerSettings, model_server: ModelServer) -> str:
    """The content of multi-model-server's configuration file."""
    values = {
        "inference_address": f"unix:{model_server.inference_socket}",
        "management_address": f"unix:{model_server.management_socket}",
        "model_store": model_server.store,
        "load_models": "" if settings.models_dir else f"{MODEL_NAME}={MODEL_NAME}",
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


def server_command(java: Path, settings: ServerSettings, model_server: ModelServer) -> list[str]:
    """Write the configuration into its folder; return the command that `multi-model-server --start` runs."""
    folder = model_server.folder
    (model_server.store / MODEL_NAME).mkdir(parents=True)
    hosts = folder / "hosts"  # else log4j asks the network for the machine's own name, and complains
    hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
    configuration = folder / "server.properties"
    configuration.write_text(server_configuration(settings, model_server))
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
        f"-Djdk.net.hosts.file={hosts}",
        *_FRUGAL_JAVA,
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
    settings: ServerSettings, environment: Mapping[str, str], readiness: Path
) -> dict[str, str]:
    """The environment of Java and, through it, of the workers."""
    kept = {name: value for name, value in environment.items() if not name.startswith("MMS_")}
    return (
        {"MALLOC_ARENA_MAX": "2"}
        | kept
        | {  # glibc's arenas for each thread are never given back
            "TMPDIR": str(readiness.parent),
            "LOG_LOCATION": str(readiness.parent),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_CODE_FOLDER), kept.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
            "SAGEMAKER_PROGRAM": "inference.py",
            THREADS_VARIABLE: str(settings.threads_per_worker),
            FOLDER_VARIABLE: str(readiness),
        }
    )
