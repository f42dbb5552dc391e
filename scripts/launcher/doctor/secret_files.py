"""Secrets in a file of an image: by their looks, and in files of settings by their names, too.

Called by `layers`. A secret is named by its kind and its place, and never shown.
"""

import codecs
import re
from collections.abc import Iterator

from launcher.doctor import secret_kinds

MAX_FILE = 2**20  # bytes; what is larger is data
MAX_SETTINGS = 16 * 2**20  # of a file that is known by its name
# What packages of Python bring for their own tests: keys that everybody has.
_PUBLISHED = re.compile(r"/(site|dist)-packages/(.*/)?tests?/|/python3[^/]*/test/")
# Files of settings, whose names say that what is in them is in use; beside .env lie examples of it.
_SETTINGS = re.compile(
    r"/(\.env(\.(?!example|sample|template|dist)\w+)?|pip\.conf|\.pypirc|\.npmrc|\.git-credentials|\.git/config"
    r"|\.condarc|\.s3cfg|\.boto)$"
)
_NETRC = re.compile(r"/[._]netrc$")
_NETRC_PASSWORD = re.compile(r"\bpassword\s+\S")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_read(path: str, size: int) -> bool:
    """Tell whether a file of so many bytes is looked into."""
    known = _SETTINGS.search(path) or _NETRC.search(path)
    return size <= (MAX_SETTINGS if known else MAX_FILE) and not _PUBLISHED.search(path)


def found_in(path: str, content: bytes) -> Iterator[str]:
    """Yield what looks like a secret in a file."""
    if content.startswith(_UTF_16):
        content = content.decode("utf-16", errors="replace").encode()
    if _SETTINGS.search(path):
        yield from secret_kinds.told_in(content.decode(errors="replace"), path)
        return
    yield from (f"{kind} in {path}" for kind in secret_kinds.kinds_in(content))
    if _NETRC.search(path) and _NETRC_PASSWORD.search(content.decode(errors="replace")):
        yield f"a password in {path}"
