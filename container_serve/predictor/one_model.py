"""The model that an endpoint was started with: without it there is nothing to serve.

Called by `predictor.supervisor`.
"""

import time
from pathlib import Path

from predictor.model_server import ModelServer, ModelServerError
from predictor.readiness import Readiness, RollCall
from predictor.served import ServeError
from predictor.settings import ServerSettings

MODEL_NAME = "model"  # to the model server


class OneModel:
    """What is served where there is one model."""

    def __init__(self, settings: ServerSettings, model_server: ModelServer, readiness: Path) -> None:
        """Tell the workers, before they are started, where the model lies."""
        self._workers, self._server = settings.workers, model_server
        self._readiness = Readiness.begin(readiness, MODEL_NAME, settings.model_dir)
        self._deadline = time.monotonic() + settings.startup_timeout
        self._timeout = settings.startup_timeout

    def is_loaded(self) -> bool:
        """Whether every worker has the model."""
        if reason := self._readiness.failure():
            raise ServeError(reason)
        if self._readiness.workers() >= self._workers:
            return True
        if time.monotonic() > self._deadline:
            raise ServeError(
                f"the workers did not load the model within {self._timeout} s; the log above says why. "
                "SAGEMAKER_STARTUP_TIMEOUT sets the limit."
            )
        return False

    def open(self) -> None:
        """Have one picture answered."""
        self._roll_call = RollCall(self._readiness, workers=self._workers)
        try:
            self._server.ask(MODEL_NAME)
        except ModelServerError as error:
            raise ServeError(f"the first request {error}; the log above says why") from error

    def look(self) -> None:
        """See that no worker is lost."""
        if reason := self._roll_call.lost():
            raise ServeError(reason)
