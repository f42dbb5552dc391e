"""The models of a multi-model endpoint: loads, lists and unloads them while others are being asked.

Called by `predictor.model_routes` for what the platform asks, and by `predictor.many_models` to look after
them. A model is listed and asked only once its workers have checked it, as `predictor.readiness` tells, and
one picture has been answered. As long as that is so there is a file of its name among the `open_models`, and
nginx lets requests for it through.
"""

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from predictor.artifact import Artifact, ArtifactError, read_artifact
from predictor.front import MODEL_NAME, open_models
from predictor.memory import memory_room, out_of_memory_kills
from predictor.model_server import ModelServer, ModelServerError
from predictor.readiness import UNSERVABLE, Readiness, RollCall
from predictor.settings import ServerSettings

MIB = 2**20
_WORKER_BYTES = 80 * MIB  # of a worker without a model: its own 50, and what all share once
_BYTES_PER_BYTE_OF_WEIGHTS = 3  # the file, what OpenVINO makes of it, and what it takes in between
_LOOK_SECONDS = 0.02  # between two looks at workers that are loading
_RESERVE = 256 * MIB  # for the requests: a picture of 50 million pixels is 150 MB


class RefusedError(Exception):
    """What was asked for is not done; the message is meant for who asked."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep what the answer is made of."""
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class LoadedModel:
    """A model that answers: the name it is asked by, the folder that was named, and its workers."""

    name: str
    url: str
    readiness: Readiness
    roll_call: RollCall


class Catalogue:
    """The loaded models. One is loaded or unloaded at a time; all may be asked meanwhile."""

    def __init__(
        self, settings: ServerSettings, models_folder: Path, *, model_server: ModelServer, readiness: Path
    ) -> None:
        """Begin with no models; only those below `models_folder` will be loaded."""
        self._settings, self._models_folder = settings, models_folder
        self._server, self._readiness = model_server, readiness
        self._models: Mapping[str, LoadedModel] = {}  # replaced as a whole, so that it is read without a lock
        self._changing = threading.Lock()
        self._open = open_models(model_server.folder)
        self._open.mkdir()

    def page(self, *, after: str, limit: int) -> tuple[list[LoadedModel], bool]:
        """The next `limit` models by name behind the name `after`, and whether there are more."""
        models = sorted((model for model in self._models.values() if model.name > after), key=_name)
        return models[:limit], len(models) > limit

    def get(self, name: str) -> LoadedModel:
        """The loaded model of that name. Raises `RefusedError`."""
        if name not in self._models:
            raise RefusedError(404, "not_found", "no model of this name is loaded")
        return self._models[name]

    def load(self, name: str, url: str) -> LoadedModel:
        """Load the model in the folder `url`, to be asked by `name`. Raises `RefusedError`."""
        if not re.fullmatch(MODEL_NAME, name):
            raise RefusedError(400, "bad_request", f"model_name must match {MODEL_NAME}")
        folder = self._folder(url)
        with self._changing:
            if name in self._models:
                raise RefusedError(409, "already_loaded", "a model of this name is loaded already")
            self._check_memory(_read(folder))
            readiness = self._start(name, folder)
            model = LoadedModel(name, url, readiness, RollCall(readiness, workers=self._settings.workers))
            self._models = {**self._models, name: model}
            (self._open / name).touch()
        return model

    def unload(self, name: str) -> LoadedModel:
        """Answer what has been asked of the model, then end its workers. Raises `RefusedError`."""
        with self._changing:
            model = self.get(name)
            self._close(name)
            try:
                self._server.ask(name)  # it waits its turn behind all that was let through before
            except ModelServerError as error:
                print(f"serve: {name} is unloaded although its last request {error}", flush=True)
            self._end(name, model.readiness)
        return model

    def look(self) -> None:
        """Unload the models whose workers are lost; the others go on. Raises `ModelServerError`."""
        if not self._changing.acquire(blocking=False):
            return  # until the next look
        try:
            for name, model in self._models.items():
                if reason := model.roll_call.lost():
                    print(f"serve: {name} is unloaded: {reason}", flush=True)
                    self._close(name)
                    self._end(name, model.readiness)
        finally:
            self._changing.release()

    def _folder(self, url: str) -> Path:
        """The real folder, which must lie below that of the models."""
        folder, allowed = Path(url).resolve(), self._models_folder.resolve()
        if not Path(url).is_absolute() or not folder.is_relative_to(allowed) or folder == allowed:
            raise RefusedError(400, "bad_request", f"url must be a folder below {self._models_folder}")
        return folder

    def _check_memory(self, artifact: Artifact) -> None:
        """Refuse what would not fit, before it is tried: the kernel would kill a process for it."""
        weights = artifact.weights_bytes(self._settings.precision)
        needed = self._settings.workers * (_WORKER_BYTES + _BYTES_PER_BYTE_OF_WEIGHTS * weights)
        free = max(0, memory_room() - _RESERVE)
        if needed > free:
            raise _no_memory(f"the model needs about {needed // MIB} MiB, and {free // MIB} are left for it")

    def _start(self, name: str, folder: Path) -> Readiness:
        """Have the model's workers started, wait for all of them, and have one picture answered."""
        readiness = Readiness.begin(self._readiness, name, folder)
        try:
            self._server.register(name, workers=self._settings.workers)
            self._wait_until_ready(readiness, folder)
            self._server.ask(name)
        except BaseException:
            self._end(name, readiness)
            raise
        return readiness

    def _wait_until_ready(self, readiness: Readiness, folder: Path) -> None:
        killed = out_of_memory_kills()
        deadline = time.monotonic() + self._settings.startup_timeout
        while readiness.workers() < self._settings.workers:
            if reason := readiness.failure():
                raise _unservable(reason, folder)
            if out_of_memory_kills() > killed:
                raise _no_memory("the memory was used up before the model was loaded")
            if time.monotonic() > deadline:
                raise RefusedError(500, "internal", "the model was not loaded in time; the log may say why")
            time.sleep(_LOOK_SECONDS)

    def _close(self, name: str) -> None:
        """Let no more requests through to the model, and list it no longer."""
        (self._open / name).unlink()
        self._models = {other: model for other, model in self._models.items() if other != name}

    def _end(self, name: str, readiness: Readiness) -> None:
        """End the model's workers, and forget what they said."""
        try:
            self._server.unregister(name)
        finally:
            readiness.end()


def _name(model: LoadedModel) -> str:
    return model.name


def _read(folder: Path) -> Artifact:
    """Look at the artifact before a process is started for it; its workers check it for themselves."""
    try:
        return read_artifact(folder)
    except ArtifactError as error:
        raise _unservable(f"{UNSERVABLE}: {error}", folder) from error


def _unservable(reason: str, folder: Path) -> RefusedError:
    """The log gets the whole reason; the answer names files without their folder, and no code."""
    print(f"serve: {reason}", flush=True)
    if not reason.startswith(UNSERVABLE):
        return RefusedError(500, "internal", "a worker could not load the model; the log has the details")
    return RefusedError(400, "unservable_model", reason.replace(f"{folder}/", ""))


def _no_memory(message: str) -> RefusedError:
    return RefusedError(507, "insufficient_memory", message)
