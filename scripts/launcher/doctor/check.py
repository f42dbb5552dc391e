"""What a check is: what holds where it finds nothing, how bad it is otherwise, and what to do then.

Each module below `image`, `machine` and `files` defines one, `CHECK`; `examination` carries them out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

Subject = TypeVar("Subject")

AWS = "https://docs.aws.amazon.com/sagemaker/latest/dg"
TRAINING = f"{AWS}/your-algorithms-training-algo-dockerfile.html"
TRAINING_OUTPUT = f"{AWS}/your-algorithms-training-algo-output.html"
HOSTING = f"{AWS}/your-algorithms-inference-code.html"
MULTI_MODEL = f"{AWS}/mms-container-apis.html"


class Severity(IntEnum):
    """How bad a finding is."""

    NOTE = 0  # works, and could be better
    WARNING = 1  # works until something happens, or not everywhere
    ERROR = 2  # does not work, or harms


class NotApplicable(Exception):  # noqa: N818 - nothing is wrong
    """There is nothing to check here; the message says why."""


class Unjudged(Exception):  # noqa: N818 - nothing is known to be wrong
    """It could not be found out; the message says why, and how it could."""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One property of a subject.

    `look` yields a message for each thing that is wrong, or raises NotApplicable or Unjudged. `fix`, where
    mending is safe, mends it and says what it did.
    """

    name: str
    holds: str
    severity: Severity
    remedy: str
    source: str
    look: Callable[[Subject], Iterator[str]]
    fix: Callable[[Subject], str] | None = None
