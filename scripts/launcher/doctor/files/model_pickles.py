"""A pickle runs code where it is read; the artifact has none, and the server reads none."""

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

from launcher.doctor.check import Check, NotApplicable, Severity
from launcher.doctor.placed import PlacedModel
from launcher.errors import WorkFailed

SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt"}
OPCODES = {opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
CALLS = {"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}
LOOKED_AT = 2**20  # bytes of a file, which are read and never unpickled


def look(model: PlacedModel) -> Iterator[str]:
    """Look at the files' names, and into them."""
    try:
        with model.folder() as folder:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                if how := _known_by(path):
                    yield f"{path.relative_to(folder)} is a pickle, by its {how}"
    except WorkFailed:
        raise NotApplicable("the archive cannot be unpacked") from None


def _known_by(path: Path) -> str:
    """Say what tells that a file is, or holds, a pickle; "" where nothing does."""
    if _is_named_so(path.name):
        return "name"
    with path.open("rb") as stream:
        start = stream.read(LOOKED_AT)
    if _begins_as_one(start) or _calls_something(start):
        return "content"
    return "content, a zip file with a pickle" if _is_zip_of_one(path) else ""


def _is_named_so(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _begins_as_one(start: bytes) -> bool:
    """Tell whether an opcode follows the word for protocols 2 to 5, as pickle and older torch write it."""
    return start[:1] == b"\x80" and start[1:2] in {b"\2", b"\3", b"\4", b"\5"} and start[2:3] in OPCODES


def _calls_something(start: bytes) -> bool:
    """Tell whether it is a whole pickle without that word, as older protocols are, which runs something."""
    names = set()
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(start)):
            names.add(opcode.name)
    except ValueError:  # no pickle, or one that does not end in what was read
        return False
    return bool(names & CALLS)


def _is_zip_of_one(path: Path) -> bool:
    """Tell it by the names inside: torch puts data.pkl there."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(map(_is_named_so, archive.namelist()))
    except zipfile.BadZipFile:
        return False


CHECK = Check(
    name="model-pickles",
    holds="there is no pickle in it",
    severity=Severity.WARNING,
    remedy="leave it out: whoever loads it runs what is in it",
    source="docs/artifact.md",
    look=look,
)
