"""The server's settings: what the platform's environment variables say, checked, with defaults.

Called by `serve.py`, in the workers by `inference.py`, and by `predict.py`. The names are those of
sagemaker-inference (`sagemaker_inference.parameters`); those of this project start with PREDICTOR_.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from predictor.cpus import cpu_limit

THREADS_VARIABLE = "PREDICTOR_THREADS"  # from the supervisor to the workers
ADDRESS_VARIABLE = "PREDICTOR_BIND_ADDRESS"
MULTI_MODEL_VARIABLE = "SAGEMAKER_MULTI_MODEL"
PRECISION_VARIABLE = "PREDICTOR_PRECISION"
BATCH_VARIABLE = "SAGEMAKER_BATCH"
PRECISIONS = ("int8", "bf16", "f32")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
# Of a worker, where there are as many CPUs: a request that comes alone is answered in little more than half
# the time. It takes one where the others are busy (predictor.neighbours).
_FEWEST_THREADS = 2
# Of many models each gets few workers: memory is what bounds how many models there can be, and the CPUs that
# one model leaves idle are there for the others.
_CPUS_PER_WORKER_OF_MANY = 4


class SettingsError(Exception):
    """An environment variable holds something unusable; the message names it."""


@dataclass(frozen=True)
class ServerSettings:
    """How the model server is run; sizes in bytes, times in seconds."""

    model_dir: Path
    models_dir: Path | None  # only of a multi-model endpoint: below it lie the models that it is told to load
    address: str
    port: int
    workers: int  # of each model
    threads_per_worker: int
    precision: str | None  # None for the artifact's own choice; the workers read it themselves
    max_payload: int
    response_timeout: int
    startup_timeout: int
    log_level: str
    java_options: tuple[str, ...]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ServerSettings":
        """Read the settings; raises `SettingsError` for a value outside its range."""
        cpus = cpu_limit()
        models = _models_folder(environment)
        usual = -(-cpus // _CPUS_PER_WORKER_OF_MANY) if models else cpus
        workers = _number(environment, "SAGEMAKER_MODEL_SERVER_WORKERS", default=usual, highest=1024)
        minutes = _number(environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT", default=1, highest=60)
        return cls(
            model_dir=model_folder(environment),
            models_dir=models,
            address=_address(environment),
            port=_number(environment, "SAGEMAKER_BIND_TO_PORT", default=8080, highest=65_535),
            workers=workers,
            threads_per_worker=max(cpus // workers, min(cpus, _FEWEST_THREADS)),
            precision=engine_precision(environment),
            max_payload=_number(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB", default=20, highest=1024) * 2**20,
            response_timeout=_number(
                environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", default=60 * minutes, highest=3600
            ),
            startup_timeout=_number(environment, "SAGEMAKER_STARTUP_TIMEOUT", default=300, highest=3600),
            log_level=_log_level(environment),
            java_options=tuple(environment.get("SAGEMAKER_MODEL_SERVER_VMARGS", "").split()),
        )


def model_folder(environment: Mapping[str, str]) -> Path:
    """Where the platform puts the model: `$SAGEMAKER_BASE_DIR/model`."""
    return _base_folder(environment) / "model"


def _models_folder(environment: Mapping[str, str]) -> Path | None:
    """Where the platform puts the models of a multi-model endpoint; None where it is none."""
    text = environment.get(MULTI_MODEL_VARIABLE, "").strip().lower() or "false"
    if text not in {"true", "false"}:
        raise SettingsError(f"{MULTI_MODEL_VARIABLE} is {text!r}; it must be true or false")
    return _base_folder(environment) / "models" if text == "true" else None


def _base_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def worker_threads() -> int:
    """The engine's threads in a worker: the supervisor's choice, or every CPU where it runs alone."""
    return _number(os.environ, THREADS_VARIABLE, default=cpu_limit(), highest=1024)


def engine_precision(environment: Mapping[str, str]) -> str | None:
    """The precision to compute in; None for the artifact's own choice."""
    text = environment.get(PRECISION_VARIABLE, "").strip()
    if text and text not in PRECISIONS:
        raise SettingsError(f"{PRECISION_VARIABLE} is {text!r}; it must be one of {', '.join(PRECISIONS)}")
    return text or None


def is_batch(environment: Mapping[str, str]) -> bool:
    """Whether the platform runs this container for a batch transform job.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
    """
    return environment.get(BATCH_VARIABLE, "").lower() == "true"


def _address(environment: Mapping[str, str]) -> str:
    """The IPv4 address to listen on; every one of the machine's by default, as a container must."""
    text = environment.get(ADDRESS_VARIABLE, "").strip() or "0.0.0.0"  # noqa: S104
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise SettingsError(
            f"{ADDRESS_VARIABLE} is {text!r}; it must be an IPv4 address such as 127.0.0.1"
        ) from error


def _log_level(environment: Mapping[str, str]) -> str:
    text = environment.get("LOG_LEVEL", "").strip() or "INFO"
    if text.upper() not in LOG_LEVELS:
        raise SettingsError(f"LOG_LEVEL is {text!r}; it must be one of {', '.join(LOG_LEVELS)}")
    return text.upper()


def _number(environment: Mapping[str, str], name: str, *, default: int, highest: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= highest):
        raise SettingsError(f"{name} is {text!r}; it must be a whole number from 1 to {highest}")
    return int(text)
