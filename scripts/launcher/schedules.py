"""When a scheduled action of Application Auto Scaling is due: checked here, as AWS would do it at the end.

Called by `serving_arguments`. Sources: Schedule of PutScheduledAction in AWS's API reference, and for cron's
fields the page "Cron expressions reference" of Amazon EventBridge, which that one refers to.
"""

import re
from dataclasses import dataclass
from datetime import datetime

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_RATE = r"[1-9]\d* (minutes?|hours?|days?)"


@dataclass(frozen=True)
class _Field:
    """One of cron's six: its numbers, its names for them, and what it may be besides."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    special: str = "(?!)"  # nothing

    def takes(self, text: str) -> bool:
        """Tell whether it may be so: values, ranges and steps, with commas between them."""
        return re.fullmatch(self.special, text) is not None or all(map(self._takes_part, text.split(",")))

    def _takes_part(self, part: str) -> bool:
        values, slash, step = part.partition("/")
        if slash and not re.fullmatch(r"[1-9]\d*", step):
            return False
        first, hyphen, last = values.partition("-")
        return values == "*" or (self._has(first) and (not hyphen or self._has(last)))

    def _has(self, value: str) -> bool:
        return value.upper() in self.names or (value.isdecimal() and self.low <= int(value) <= self.high)


_FIELDS = (
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("day of the month", 1, 31, special=r"\?|L|LW|([1-9]|[12]\d|3[01])W"),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 1, 7, _DAYS, special=rf"(?i:\?|L|([1-7]|{'|'.join(_DAYS)})(L|#[1-5]))"),
    _Field("year", 1970, 2199),
)


def fault(when: str) -> str:
    """Say what is wrong with at(…), rate(…) or cron(…); "" where nothing is."""
    kind, _, rest = when.removesuffix(")").partition("(")
    if not when.endswith(")") or kind not in _FAULTS:
        return f"{when!r} is none of at(…), rate(…) and cron(…)"
    return _FAULTS[kind](rest)


def _at_fault(time: str) -> str:
    form = "at(…) takes a time such as at(2027-01-31T07:00:00)"
    try:
        return "" if f"{datetime.fromisoformat(time):%Y-%m-%dT%H:%M:%S}" == time else form
    except ValueError:
        return form


def _rate_fault(rate: str) -> str:
    return (
        "" if re.fullmatch(_RATE, rate) else "rate(…) takes minutes, hours or days, such as rate(5 minutes)"
    )


def _cron_fault(fields: str) -> str:
    texts = fields.split()
    if len(texts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        return f"cron(…) takes six fields ({names}), such as cron(0 7 ? * MON-FRI *), not {len(texts)}"
    for field, text in zip(_FIELDS, texts, strict=True):
        if not field.takes(text):
            return f"cron(…): {text!r} is no {field.name}, which is {field.low} to {field.high}"
    if (texts[2] == "?") == (texts[4] == "?"):
        return "cron(…): of day of the month and day of the week just one is ?, as in cron(0 7 ? * MON-FRI *)"
    return ""


_FAULTS = {"at": _at_fault, "rate": _rate_fault, "cron": _cron_fault}
