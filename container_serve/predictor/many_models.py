"""The models of a multi-model endpoint: none at the start, and each may go without the others.

Called by `predictor.supervisor`, and imported only for such an endpoint: it costs time at the start.
"""

from pathlib import Path

from predictor.catalogue import Catalogue
from predictor.model_routes import ModelRoutes
from predictor.model_server import ModelServer, ModelServerError
from predictor.served import ServeError
from predictor.settings import ServerSettings


class ManyModels:
    """What is served where there are many models."""

    def __init__(
        self, settings: ServerSettings, models_folder: Path, *, model_server: ModelServer, readiness: Path
    ) -> None:
        """Begin without models; only those below `models_folder` will be loaded."""
        self._server = model_server
        self._catalogue = Catalogue(settings, models_folder, model_server=model_server, readiness=readiness)

    def is_loaded(self) -> bool:
        """Whether the model server could be given a model."""
        return self._server.takes_models()

    def open(self) -> None:
        """Begin to answer the platform's requests for models."""
        ModelRoutes(self._server.folder, self._catalogue)

    def look(self) -> None:
        """Unload the models that are lost."""
        try:
            self._catalogue.look()
        except ModelServerError as error:
            raise ServeError(f"a model cannot be unloaded: the request {error}") from error
