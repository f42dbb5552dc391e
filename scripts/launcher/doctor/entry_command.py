"""What an image's entrypoint does with the word behind it: its form, read through inits and shells.

Called by `examined_image`. What a program does with the word, and with SIGTERM, only its containers show.
"""

import getopt
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

WORD = "WORD"  # stands for train, or serve


@dataclass(frozen=True)
class EntryCommand:
    """How the word is kept from the program, and a shell that does not give it its place; each may be ""."""

    lost: str = ""
    shell: str = ""


@dataclass(frozen=True)
class _Wrapper:
    """A program that runs the one behind its options: these, as getopt takes them, and so many words more."""

    short: str = ""
    long: tuple[str, ...] = ()
    words: int = 0


_TINI = _Wrapper("hvswgle:p:", ("version",))
_WRAPPERS = {
    "env": _Wrapper("iv0u:C:S:", ("ignore-environment", "debug", "unset=", "chdir=", "split-string=")),
    "tini": _TINI,
    "tini-static": _TINI,
    "docker-init": _TINI,
    "dumb-init": _Wrapper("chvVr:", ("single-child", "verbose", "rewrite=")),
    "catatonit": _Wrapper("hgLPV"),
    "gosu": _Wrapper(words=1),
    "su-exec": _Wrapper(words=1),
}
_SHELL = _Wrapper(
    "abcefhiklmnprstuvxBCDEHPTO:o:",
    ("login", "norc", "noprofile", "noediting", "posix", "restricted", "verbose", "rcfile=", "init-file="),
)
_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# What is read in the shell itself sees the shell's words, whatever its own text says.
_READ_IN = re.compile(r"(^|[\s;&|({])(\.|source|eval)\s")
_NEXT_COMMAND = re.compile(r"[;&|\n]+")


def read(entrypoint: Sequence[str]) -> EntryCommand:
    """Follow the word through an entrypoint, as `docker run IMAGE WORD` starts it."""
    try:
        return _followed([*entrypoint, WORD])
    except (getopt.GetoptError, ValueError):
        return EntryCommand()  # options or quotes that are not known here


def _followed(words: list[str], behind: str = "") -> EntryCommand:
    program = PurePosixPath(words[0]).name
    if len(words) == 1:  # all that is left is the word itself
        return _runs_it(behind) if behind else EntryCommand()
    if program == "busybox":
        return _followed(words[1:], behind)
    if program in _SHELLS:
        return _in_shell(program, words[1:])
    if wrapper := _WRAPPERS.get(program):
        return _followed(_behind(wrapper, words[1:]), program)
    return EntryCommand()


def _runs_it(program: str) -> EntryCommand:
    return EntryCommand(f"{program} alone runs a program named train or serve")


def _behind(wrapper: _Wrapper, words: list[str]) -> list[str]:
    options, rest = getopt.getopt(words, wrapper.short, list(wrapper.long))
    split = [shlex.split(value) for name, value in options if name in {"-S", "--split-string"}]
    rest = [*(word for words in split for word in words), *rest[wrapper.words :]]
    while rest[:-1] and _ASSIGNMENT.match(rest[0]):
        rest = rest[1:]
    return rest or [WORD]


def _in_shell(shell: str, words: list[str]) -> EntryCommand:
    options, rest = getopt.getopt(words, _SHELL.short, list(_SHELL.long))
    if len(rest) == 1:
        return _runs_it(shell)
    if ("-c", "") not in options:
        return EntryCommand()  # a script, which gets the word
    line = rest[0]
    place = len(rest) - 2  # of the word, behind the line: $0, $1, …
    stays = "" if _gives_its_place(line) else f"{shell} -c"
    lost = f"{shell} -c takes the word for its ${place}, which is not in its command line"
    return EntryCommand("" if _uses(line, place) else lost, stays)


def _uses(line: str, place: int) -> bool:
    all_of_them = "" if place == 0 else "@*"
    return bool(re.search(rf"\$\{{?[{all_of_them}{place}]", line) or _READ_IN.search(line))


def _gives_its_place(line: str) -> bool:
    """Tell whether the last command of a line is one with `exec`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split = " \t\r", True
    last: list[str] = []
    for token in lexer:
        last = [] if _NEXT_COMMAND.fullmatch(token) else [*last, token]
    return next((token for token in last if not _ASSIGNMENT.match(token)), "") == "exec"
