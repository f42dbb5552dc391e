"""A report's figures and texts as a reader takes them. Called by the other modules of the report."""

import math
import re

from trainer.report_plots import number

_PATH = re.compile(r"(?<![\w.:/…\\])(?:/[^\s/'\"<>]+)+/([^\s/'\"<>]+)")


def scrubbed(text: object) -> str:
    """Text without the machine's folders: of an absolute path the last part stays."""
    return _PATH.sub(r"…/\1", str(text))


def shown(value: object) -> str:
    """A number with as many digits as a reader uses."""
    figure = number(value)
    if math.isnan(figure):
        return "NaN"
    if math.isinf(figure):
        return "infinite" if figure > 0 else "−infinite"
    size = abs(figure)
    if size >= 1000 and size < 1e9:
        return f"{figure:,.0f}"
    if size and not 1e-4 <= size < 1e9:
        mantissa, exponent = f"{figure:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{figure:.3g}"


def percent(value: object, digits: int = 1) -> str:
    """A share of 1."""
    figure = number(value)
    return f"{100 * figure:.{digits}f}\N{NO-BREAK SPACE}%" if math.isfinite(figure) else "unknown"


def duration(value: object) -> str:
    """Seconds in a unit that suits."""
    seconds = number(value)
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def slug(name: str) -> str:
    """A member's name as a part of a file's."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)[:60]
