"""What secrets look like: by themselves, and by the name that a value is given.

Called by `secret_files` and `secret_settings`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A name's last word decides: TOKEN is one, TOKENIZER_NAME, MAX_TOKENS and TOKEN_ENDPOINT are none.
_AFTER = r"(_(BASE|VALUE|B64|BASE64|PROD|PRODUCTION|STAGING|DEV|TEST|[0-9]+))?$"
_PASSWORD = re.compile(rf"(PASSWORD|PASSWD|PASSPHRASE|(^|_)PASS|(^|_)PWD){_AFTER}")
_OTHER_SECRET = re.compile(
    r"(SECRETS?|TOKEN|CREDENTIALS?"
    rf"|(PRIVATE|ACCESS|API|SECRET|SIGNING|ENCRYPTION|MASTER|DEPLOY|ACCOUNT)_?KEY){_AFTER}"
)
# A word inside a name, API_TOKEN_GITHUB, is one where the value looks drawn: SECRET_BACKEND=vault-v1 is none.
_INSIDE = re.compile(r"(^|_)(SECRET|TOKEN|PASSWORD|(PRIVATE|ACCESS|API)_?KEY)_")
_PUBLIC = re.compile(r"_(ID|URL|URI|NAME|(MD5|SHA)[0-9]*|HASH|DIGEST|FINGERPRINT|COMMIT|REVISION|VERSION)$")
_DRAWN = re.compile(r"[A-Za-z0-9_+/=-]{16,}")
_TURN = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
_TURNS = 4  # between letters and digits, of what is drawn: names of models and versions have fewer
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SWITCH = re.compile(r"yes|no|true|false|on|off|none|null|required|optional|enabled|disabled", re.IGNORECASE)
# A file's path, what a shell puts in its place, or what a person has to.
_STANDS_FOR_ANOTHER = ("/", "$", "`", "<", "{", "[", "%")
_SHORTEST = 8  # characters of what is no password
_ASSIGNMENT = re.compile(r"""(?<![\w${])([A-Za-z_][\w.-]*) ?=(?!=) ?("[^"\n]+"|'[^'\n]+'|[^\s"']\S*)""")


@dataclass(frozen=True)
class Kind:
    """A kind of secret: what every one of them has in it, in small letters, and what one looks like."""

    name: str
    has: bytes
    pattern: re.Pattern[bytes]


def _kind(name: str, has: str, pattern: str) -> Kind:
    return Kind(name, has.encode(), re.compile(pattern.encode()))


KINDS = (
    _kind(
        "a private key",
        "private key-----",
        # In JSON and in variables a line's end is written as \n.
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\s|\\[nr])+(?:[A-Za-z0-9+/=:,\s-]|\\[nr]){64}",
    ),
    _kind("an AWS access key", "akia", r"(?<![A-Z0-9])AKIA(?![A-Z0-9]*EXAMPLE)[A-Z2-7]{16}(?![A-Z0-9])"),
    _kind("an AWS session's key", "asia", r"(?<![A-Z0-9])ASIA(?![A-Z0-9]*EXAMPLE)[A-Z2-7]{16}(?![A-Z0-9])"),
    *(
        _kind(
            "an AWS secret key",
            key,
            rf"(?i:{key})[\"']?\s*[:=]\s*[\"']?(?![A-Za-z0-9/+]*EXAMPLE)[A-Za-z0-9/+]{{40}}(?![A-Za-z0-9/+])",
        )
        for key in ("secret_access_key", "secretaccesskey")
    ),
    *(
        _kind("a GitHub token", f"gh{each}_", rf"gh{each}_[A-Za-z0-9]{{36}}(?![A-Za-z0-9])")
        for each in "pousr"
    ),
    _kind("a GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9_]{82}"),
    _kind("a GitLab token", "glpat-", r"glpat-[A-Za-z0-9_-]{20}"),
    _kind("a Hugging Face token", "hf_", r"(?<![A-Za-z0-9_])hf_[A-Za-z]{34}(?![A-Za-z0-9])"),
    _kind("a PyPI token", "pypi-agei", r"pypi-AgEI[A-Za-z0-9_-]{50,}"),
    _kind("an npm token", "npm_", r"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    _kind("a Slack token", "xox", r"xox[abprs]-[0-9]{10,}-[A-Za-z0-9-]{20,}"),
    _kind(
        "a registry's password",
        '"auths"',
        r'"auths"\s*:[\s\S]*?"auth"\s*:\s*"[A-Za-z0-9+/]{8,}={0,2}"',
    ),
)
# Only where nobody writes examples: documentation is full of such addresses.
_IN_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@\"']*:(?![$<{%])[^\s/@\"']+@", re.IGNORECASE)


def kinds_in(content: bytes) -> list[str]:
    """Return the kinds of secrets in a text; what is no text has none."""
    if b"\0" in content[:8192]:
        return []
    small = content.lower()
    found = [kind.name for kind in KINDS if kind.has in small and kind.pattern.search(content)]
    return list(dict.fromkeys(found))


def kinds_in_setting(text: str) -> list[str]:
    """Return the kinds in a text that somebody wrote for use, not to be read."""
    in_address = ["a password in an address"] if _IN_ADDRESS.search(text) else []
    return [*kinds_in(text.encode()), *in_address]


def kinds_of_value(name: str, value: str) -> list[str]:
    """Return the kinds in a value, or else what its name says that it is."""
    return kinds_in_setting(value) or (["a value of that name"] if _named(name, value) else [])


def _named(name: str, value: str) -> bool:
    words = re.sub(r"[.-]", "_", _HUMP.sub("_", name)).upper()
    if value.startswith(_STANDS_FOR_ANOTHER) or _SWITCH.fullmatch(value):
        return False
    if _PASSWORD.search(words):
        return len(value) > 1  # else a switch
    if _OTHER_SECRET.search(words):
        return len(value) >= _SHORTEST and "://" not in value
    return bool(_INSIDE.search(words)) and not _PUBLIC.search(words) and _looks_drawn(value)


def _looks_drawn(value: str) -> bool:
    return bool(_DRAWN.fullmatch(value)) and len(_TURN.findall(value)) >= _TURNS


def told_in(text: str, place: str) -> Iterator[str]:
    """Yield the secrets of settings or commands: each with the name that it is given, or by itself."""
    rest, end = [], 0
    for assignment in _ASSIGNMENT.finditer(text):
        name, value = assignment[1], assignment[2].strip("\"'")
        kinds = kinds_of_value(name, value)
        yield from (f"{kind} in {place}, as {name}" for kind in kinds)
        if kinds:
            rest.append(text[end : assignment.start()])
            end = assignment.end()
    rest.append(text[end:])
    yield from (f"{kind} in {place}" for kind in kinds_in_setting("".join(rest)))
