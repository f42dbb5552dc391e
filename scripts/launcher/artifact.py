"""What a model says of itself: its artifact.json, as docs/artifact.md has it, held against its own digest.

Called by `model_card`. Serving reads more of it, and every file that it lists: `predictor.artifact`.
"""

import hashlib
from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError

from launcher.errors import WorkFailed

_AGAIN = "copy the archive again; if that does not help, train again"


class _Part(BaseModel):
    """Nothing is converted; keys that are not known are left, as the contract wants it."""

    model_config = ConfigDict(frozen=True, strict=True)


class BreedClass(_Part):
    """A class: its folder's name, and its label for people."""

    name: str
    label: str


class Preprocessing(_Part):
    """How a picture becomes the network's input: sizes in pixels, statistics for RGB in 0–1."""

    resize: int
    crop: int
    interpolation: str
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    std: tuple[FiniteFloat, FiniteFloat, FiniteFloat]


class Backbone(_Part):
    """One of the networks that answer."""

    name: str
    weights: str
    weights_sha256: str | None = None
    best_epoch: int | None = None
    share: FiniteFloat | None = None


class Precision(_Part):
    """The chosen engine, the validation accuracies that it was chosen by, and int8's test accuracy."""

    chosen: str = "f32"
    accuracy: Mapping[str, FiniteFloat] = {}
    pictures: int | None = None
    test_accuracy: FiniteFloat | None = None


class TrainingRun(_Part):
    """How the model came about."""

    job_name: str | None = None
    hyperparameters: Mapping[str, JsonValue] = {}
    pictures: Mapping[str, int] = {}  # of each split
    git_revision: str | None = None
    python: str | None = None
    torch: str | None = None
    torchvision: str | None = None
    openvino: str | None = None


class Interval(_Part):
    """Of a share, 95 %."""

    low: FiniteFloat
    high: FiniteFloat


class ClassScore(_Part):
    """The share of a class's test pictures that were named right, and their number."""

    accuracy: FiniteFloat | None
    pictures: int


class Confusion(_Part):
    """Pictures of the class `truth` that were called `answer`: how many, and their share of the class."""

    truth: str
    answer: str
    count: int
    share: FiniteFloat


class ReportCard(_Part):
    """The one look at the test split; shares are from 0 to 1."""

    pictures: int
    accuracy: FiniteFloat
    accuracy_interval: Interval
    top5: FiniteFloat
    per_class: Mapping[str, ClassScore]
    confusions: tuple[Confusion, ...]
    expected_calibration_error: FiniteFloat
    calibration_error_before: FiniteFloat
    temperature: FiniteFloat


class File(_Part):
    """A file of the artifact, as it was written."""

    bytes: int
    sha256: str


class Artifact(_Part):
    """The whole description; what an artifact may lack has a default."""

    schema_version: Literal[1]
    created: AwareDatetime
    classes: tuple[BreedClass, ...] = Field(min_length=1)
    preprocessing: Preprocessing
    backbones: tuple[Backbone, ...]
    precision: Precision = Precision()
    training_run: TrainingRun
    metrics: Mapping[str, FiniteFloat]
    report_card: ReportCard | None = None
    files: Mapping[str, File]
    sha256: str


def read(text: bytes) -> Artifact:
    """Read an artifact.json; raises WorkFailed for one that was altered, or is not as described."""
    try:
        artifact = Artifact.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise WorkFailed(
            f"artifact.json is not what docs/artifact.md describes: {where}: {fault['msg']}"
        ) from None
    # The digest is that of the text in which it is empty.
    if hashlib.sha256(text.replace(artifact.sha256.encode(), b"", 1)).hexdigest() != artifact.sha256:
        raise WorkFailed(f"artifact.json was altered: its SHA-256 differs; {_AGAIN}")
    return artifact
