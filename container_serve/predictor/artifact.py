"""Reads and checks the model artifact: the third door, specified in `docs/artifact.md`.

Called by `predictor.model` before anything of the artifact is used, and by `serve` before the model
server is started. Nothing here runs code from the artifact: JSON, sizes and digests only.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
DESCRIPTION = "artifact.json"
_AGAIN = "Copy or unpack the artifact again; if that does not help, train again."
_DESCRIPTION_LIMIT = 64 * 1024 * 1024  # a description is kilobytes; this bounds what is parsed
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ArtifactError(Exception):
    """The artifact cannot be served; the message says what is wrong, where, and what to do."""

    def __init__(self, what: str, *, where: Path, remedy: str) -> None:
        """Join the three parts into one message."""
        super().__init__(f"{what} ({where}). {remedy}")


@dataclass(frozen=True)
class BreedClass:
    """One class: the folder name it was trained from, and the label for people."""

    name: str
    label: str


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input: sizes in pixels, statistics for RGB in 0–1."""

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class SelfTest:
    """Two stored inputs, their logits, and the largest difference in probability allowed."""

    images: Path
    logits: Path
    tolerance: float


@dataclass(frozen=True)
class EngineFiles:
    """The OpenVINO IR of one precision, and what it has to answer."""

    model: Path
    weights: Path
    selftest: SelfTest


@dataclass(frozen=True)
class Artifact:
    """A checked artifact: every file it lists is there, unaltered."""

    folder: Path
    classes: tuple[BreedClass, ...]
    preprocessing: Preprocessing
    engines: Mapping[str, EngineFiles]
    precision: str  # of the engine that training chose, a key of `engines`
    selftest: SelfTest
    input_name: str
    output_name: str

    def weights_bytes(self, precision: str | None) -> int:
        """The size of the network that is computed in `precision`, or in the artifact's own choice."""
        return self.engines.get(precision or self.precision, self.engines["f32"]).weights.stat().st_size

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels for people, in the order of the logits."""
        return tuple(entry.label for entry in self.classes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one normalised picture, `(3, S, S)`."""
        return (3, self.preprocessing.crop, self.preprocessing.crop)


class _Description:
    """`artifact.json` with typed access; every miss is an `ArtifactError` that names the key."""

    def __init__(self, path: Path, content: Any) -> None:
        self.path = path
        self.content = content

    def wrong(self, what: str) -> ArtifactError:
        return ArtifactError(
            what, where=self.path, remedy="Export the artifact again, as docs/artifact.md describes."
        )

    def get(self, *keys: str) -> Any:
        value = self.content
        for depth, key in enumerate(keys):
            if not isinstance(value, dict) or key not in value:
                raise self.wrong(f"the key `{'.'.join(keys[: depth + 1])}` is missing")
            value = value[key]
        return value

    def object(self, *keys: str) -> dict[str, Any]:
        value = self.get(*keys)
        if not isinstance(value, dict):
            raise self.wrong(f"`{'.'.join(keys)}` is not an object")
        return value

    def text(self, *keys: str) -> str:
        value = self.get(*keys)
        if not isinstance(value, str) or not value:
            raise self.wrong(f"`{'.'.join(keys)}` is not a text")
        return value

    def size(self, *keys: str) -> int:
        value = self.get(*keys)
        if type(value) is not int or not 0 < value <= 8192:
            raise self.wrong(f"`{'.'.join(keys)}` is {value!r}, not a size in pixels")
        return value

    def statistics(self, *keys: str) -> tuple[float, float, float]:
        value = self.get(*keys)
        if not isinstance(value, list) or len(value) != 3 or not all(map(_is_finite, value)):
            raise self.wrong(f"`{'.'.join(keys)}` is not a list of three numbers")
        return (float(value[0]), float(value[1]), float(value[2]))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_artifact(folder: Path) -> Artifact:
    """Read the artifact in `folder` and check every file it lists.

    Raises `ArtifactError` for anything that `docs/artifact.md` calls unservable.
    """
    description = _read_description(folder)
    listed = _check_files(folder, description)
    preprocessing = _read_preprocessing(description)
    classes = _read_classes(description)
    _check_shape(description, "input", [None, 3, preprocessing.crop, preprocessing.crop])
    _check_shape(description, "output", [None, len(classes)])
    selftest = _read_selftest(description, listed)
    engines = _read_engines(description, listed, selftest)
    return Artifact(
        folder=folder,
        classes=classes,
        preprocessing=preprocessing,
        engines=engines,
        precision=_read_precision(description, engines),
        selftest=selftest,
        input_name=description.text("input", "name"),
        output_name=description.text("output", "name"),
    )


def _read_description(folder: Path) -> _Description:
    path = folder / DESCRIPTION
    _check_plain_file(
        path, "Put a trained model there, e.g. unpack model.tar.gz, or name its folder with --model-dir."
    )
    if path.stat().st_size > _DESCRIPTION_LIMIT:
        raise ArtifactError("the description is too large", where=path, remedy="Export the artifact again.")
    try:
        with _readable(path):
            text = path.read_bytes()
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"the description is not JSON: {error}", where=path, remedy="Export the artifact again."
        ) from error
    description = _Description(path, content)
    version = description.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ArtifactError(
            f"schema_version is {version!r}; this server reads {SCHEMA_VERSION}",
            where=path,
            remedy="Use the serving image that belongs to the training image.",
        )
    _check_seal(description, text)
    return description


def _check_seal(description: _Description, text: bytes) -> None:
    """Check the description against its own digest, which is that of the text in which it is empty."""
    digest = description.text("sha256")
    whole = text.replace(digest.encode(errors="replace"), b"", 1)
    if hashlib.sha256(whole).hexdigest() != digest:
        raise ArtifactError(
            "the file was altered: its SHA-256 differs", where=description.path, remedy=_AGAIN
        )


def _check_files(folder: Path, description: _Description) -> dict[str, Path]:
    """Check name, kind, size and digest of every listed file; return them by name."""
    listed = {}
    for name, entry in description.object("files").items():
        if name != Path(name).name or name in {"", ".", "..", DESCRIPTION} or "\\" in name or "\0" in name:
            raise description.wrong(f"{name!r} is not a plain file name")
        size = entry.get("bytes") if isinstance(entry, dict) else None
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        if type(size) is not int or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise description.wrong(f"`files.{name}` lacks `bytes` or `sha256`")
        _check_content(folder / name, size=size, sha256=digest)
        listed[name] = folder / name
    return listed


def _check_content(path: Path, *, size: int, sha256: str) -> None:
    _check_plain_file(path, _AGAIN)
    found = path.stat().st_size
    if found != size:
        raise ArtifactError(f"the file has {found} bytes instead of {size}", where=path, remedy=_AGAIN)
    with _readable(path), path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256:
        raise ArtifactError("the file was altered: its SHA-256 differs", where=path, remedy=_AGAIN)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the system's refusal to read into an `ArtifactError`."""
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ArtifactError:
    remedy = "Copy or unpack the artifact again."
    if isinstance(error, PermissionError):
        remedy = f"Let user {os.geteuid()}, who asks, read the folder, e.g. by `chmod -R a+rX` on it."
    return ArtifactError(f"{path.name} cannot be read: {error.strerror}", where=path, remedy=remedy)


def _check_plain_file(path: Path, remedy: str) -> None:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError(f"{path.name}: is missing", where=path, remedy=remedy) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "not a plain file"
        raise ArtifactError(
            f"{path.name} is {kind}; only plain files are read",
            where=path,
            remedy="Put the file itself there.",
        )


def _read_preprocessing(description: _Description) -> Preprocessing:
    key = "preprocessing"
    interpolation = description.text(key, "interpolation")
    if interpolation != "bilinear":
        raise description.wrong(f"`{key}.interpolation` is {interpolation!r}; only bilinear is known")
    std = description.statistics(key, "std")
    if min(std) <= 0:
        raise description.wrong(f"`{key}.std` holds {min(std)}, which nothing can be divided by")
    return Preprocessing(
        resize=description.size(key, "resize"),
        crop=description.size(key, "crop"),
        mean=description.statistics(key, "mean"),
        std=std,
    )


def _read_classes(description: _Description) -> tuple[BreedClass, ...]:
    entries = description.get("classes")
    if not isinstance(entries, list) or not entries:
        raise description.wrong("`classes` is not a list of classes")
    classes = []
    for index, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(label, str):
            raise description.wrong(f"`classes[{index}]` lacks `name` or `label`")
        classes.append(BreedClass(name, label))
    if len({entry.name for entry in classes}) != len(classes):
        raise description.wrong("`classes` names a class twice")
    return tuple(classes)


def _check_shape(description: _Description, key: str, expected: list[int | None]) -> None:
    shape, dtype = description.get(key, "shape"), description.get(key, "dtype")
    if shape != expected or dtype != "float32":
        raise description.wrong(f"`{key}` is {dtype} {shape} where float32 {expected} was expected")


def _listed_file(description: _Description, listed: dict[str, Path], *keys: str) -> Path:
    name = description.text(*keys)
    if name not in listed:
        raise description.wrong(f"`{'.'.join(keys)}` names {name!r}, which `files` does not list")
    return listed[name]


def _read_engines(
    description: _Description, listed: dict[str, Path], selftest: SelfTest
) -> dict[str, EngineFiles]:
    engines = {
        precision: EngineFiles(
            model=_listed_file(description, listed, "engines", precision, "model"),
            weights=_listed_file(description, listed, "engines", precision, "weights"),
            selftest=_engine_selftest(description, listed, precision, selftest),
        )
        for precision in description.object("engines")
    }
    if "f32" not in engines:
        raise description.wrong("`engines` has no `f32`")
    return engines


def _engine_selftest(
    description: _Description, listed: dict[str, Path], precision: str, common: SelfTest
) -> SelfTest:
    """An engine's own answers for the common pictures; only f32 is held against the trained model's."""
    if precision == "f32":
        return common
    keys = ("engines", precision, "selftest")
    logits = _listed_file(description, listed, *keys, "logits")
    return SelfTest(common.images, logits, _tolerance(description, *keys, "tolerance"))


def _read_precision(description: _Description, engines: Mapping[str, EngineFiles]) -> str:
    if "precision" not in description.content:  # an artifact from before there was a choice
        return "f32"
    chosen = description.text("precision", "chosen")
    if chosen not in engines:
        raise description.wrong(f"`precision.chosen` is {chosen!r}, which `engines` does not have")
    return chosen


def _read_selftest(description: _Description, listed: dict[str, Path]) -> SelfTest:
    return SelfTest(
        images=_listed_file(description, listed, "selftest", "images"),
        logits=_listed_file(description, listed, "selftest", "logits"),
        tolerance=_tolerance(description, "selftest", "tolerance"),
    )


def _tolerance(description: _Description, *keys: str) -> float:
    tolerance = description.get(*keys)
    if not _is_finite(tolerance) or not 0 < tolerance < 1:
        raise description.wrong(f"`{'.'.join(keys)}` is {tolerance!r}, not a difference in probability")
    return float(tolerance)
