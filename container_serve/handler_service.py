"""The handler that multi-model-server loads in every worker; it must define exactly one class."""

import sys
import traceback
from typing import Any

from sagemaker_inference import environment

from predictor.artifact import ArtifactError
from predictor.readiness import UNSERVABLE, Readiness
from predictor.toolkit import DefaultHandlerService
from predictor.transformer import BreedTransformer


class HandlerService(DefaultHandlerService):  # type: ignore[misc] # the toolkit brings no types
    """sagemaker-inference's handler with the project's transformer."""

    def __init__(self) -> None:
        """Use `inference.py` through `BreedTransformer`."""
        super().__init__(transformer=BreedTransformer())

    def initialize(self, context: Any) -> None:
        """Load the model, or end the worker: the server would call a worker that has none ready."""
        supervisor = Readiness.of_supervisor(context.model_name)
        try:
            # Not the folder the server knows: it puts that on PYTHONPATH, and a model is data, not code.
            folder = supervisor.model_folder() if supervisor else environment.model_dir
            self._service.validate_and_initialize(model_dir=str(folder), context=context)
        except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor says it
            if isinstance(error, ArtifactError):
                reason = f"{UNSERVABLE}: {error}"
            else:
                # What the worker itself logs may be lost: Java, which passes it on, is ended at once.
                reason = f"a worker cannot load the model:\n{traceback.format_exc()}"
            if supervisor:
                supervisor.announce_failure(reason)
            sys.exit(1)
        if supervisor:
            supervisor.announce()
