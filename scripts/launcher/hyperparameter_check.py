"""Whether the trainer would take hyperparameters, asked before a request with them is sent.

Called by `arguments` for a training job and by `tuning_request` for a search and its ranges. Another image's
are none of its business: metrics, checkpoints and the artifact are this project's trainer's, too.
"""

from collections.abc import Iterator, Mapping

from launcher import trials
from launcher.errors import SettingsError
from trainer import config
from trainer.failures import UsageError

# How the names begin that the training toolkit takes out before the trainer sees them.
TOOLKIT = ("sagemaker_", "_tuning_")


def check(values: Mapping[str, str], image: str | None) -> None:
    """Raise SettingsError, in the trainer's words, for a request's hyperparameters that it would refuse.

    `image` is what a person named to train in, if anything: it is said what it has to be.
    """
    for fault in faults(values):
        hint = f" ({image} has to be a build of this project, whose trainer says this)" if image else ""
        raise SettingsError(f"{fault}{hint}")


def faults(values: Mapping[str, str]) -> Iterator[str]:
    """Yield what the trainer says of a request's hyperparameters, if it would refuse them."""
    own = {name: text for name, text in values.items() if not name.startswith(TOOLKIT)}
    try:
        config.from_strings({name: _decoded(text) for name, text in own.items()})
    except UsageError as error:
        yield str(error)


def _decoded(text: str) -> str:
    """Read a value as the toolkit does, and leave it a text."""
    value = trials.decoded(text)
    return value if isinstance(value, str) else text
