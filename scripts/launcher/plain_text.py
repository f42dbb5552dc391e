"""Text from elsewhere as a terminal may have it: that obeys what stands in a log, a label or a file's name.

Called by whatever shows such text: `command_line`, the doctor, a model's card, the launcher's tables.
"""

import re

from rich.text import Text

_MARK = "\ufffd"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def line(value: object) -> str:
    """Return a value as one line that can be seen: of control characters and their like a mark is left."""
    return _seen(" ".join(str(value).split()))


def lines(value: object) -> str:
    """Return a value of several lines in the same way; colours, which logs have, are left out."""
    return "\n".join(map(_seen, _COLOURS.sub("", str(value)).split("\n")))


def cell(value: object, style: str = "") -> Text:
    """Return what `lines` does for rich, to which brackets and colons in it mean nothing."""
    return Text(lines(value), style)


def _seen(text: str) -> str:
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    """Return a character, a space for white space that may move the cursor, a mark for what is not seen."""
    if character.isprintable() or character == "\t":
        return character
    return " " if character.isspace() else _MARK
