"""What a client asks for beside the answer itself, in the header `X-Amzn-SageMaker-Custom-Attributes`.

Called by `inference.py`. SageMaker passes the header on as it is; others put identifiers of their own there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from predictor.codecs import RequestError

HEADER = "x-amzn-sagemaker-custom-attributes"
_TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class Options:
    """How a request is answered: how many classes, why the first, with its mirror image, how likely each."""

    top_k: int = 5
    explain: bool = False
    tta: bool = False
    probabilities: bool = False

    @classmethod
    def from_header(cls, text: str | None) -> "Options":
        """Read `top_k=3, tta=true`; what is not `name=value` is somebody else's.

        Raises `RequestError` for a name or a value that is none of these.
        """
        options = cls()
        for part in re.split("[,;]", text or ""):
            name, is_option, value = (each.strip() for each in part.partition("="))
            if not is_option:
                continue
            if name not in _READERS:
                raise RequestError(f"there is no option {name[:40]!r}; there are {', '.join(_READERS)}")
            options = replace(options, **{name: _READERS[name](name, value)})
        return options


def _read_count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) > 0):
        raise RequestError(f"{name} must be a whole number from 1")
    return int(text)


def _read_truth(name: str, text: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise RequestError(f"{name} must be true or false")
    return _TRUTHS[text.lower()]


_READERS: dict[str, Callable[[str, str], Any]] = {
    "top_k": _read_count,
    "explain": _read_truth,
    "tta": _read_truth,
    "probabilities": _read_truth,
}
