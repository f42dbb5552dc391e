"""What an endpoint serves, one model or many: when it can answer, and until when.

Followed by `predictor.supervisor`; there are `predictor.one_model` and `predictor.many_models`.
"""

from typing import Protocol


class ServeError(Exception):
    """The server cannot be started, or has died; the message says why and what to do."""


class Served(Protocol):
    """What the supervisor has to know; each raises `ServeError` once no more can be answered."""

    def is_loaded(self) -> bool:
        """Whether the model server is as far as it has to be before anybody may ask."""

    def open(self) -> None:
        """Make sure that requests will be answered, before nginx is started."""

    def look(self) -> None:
        """See that they still are, a few times a second."""
