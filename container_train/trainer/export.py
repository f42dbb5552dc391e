"""The trained model → the artifact of docs/artifact.md. Called by the job once training is done.

The files are written into a sub-folder, checked there by inferring with OpenVINO, and moved into
place with artifact.json last: a killed or disk-full export leaves nothing that can be served.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainer.conversion import compile_network, convert, save_network
from trainer.download import file_sha256
from trainer.failures import ExportError
from trainer.labels import label_of
from trainer.quantisation import Photographs, Quantised, quantise
from trainer.views import Preprocessing

SCHEMA_VERSION = 1
DESCRIPTION = "artifact.json"
TOLERANCE = 1e-3  # in probability
INT8_TOLERANCE = 0.05  # processors with and without instructions for int8 round differently
_PARTIAL = ".partial"
_INT8_ENGINE = {
    "model": "model_int8.xml",
    "weights": "model_int8.bin",
    "selftest": {"logits": "selftest_logits_int8.npy", "tolerance": INT8_TOLERANCE},
}

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Provenance:
    """What artifact.json says about the model besides its files."""

    classes: Sequence[str]
    preprocessing: Preprocessing
    backbones: Sequence[Mapping[str, Any]]
    training_run: Mapping[str, Any]
    metrics: Mapping[str, float]
    report_card: Mapping[str, Any]


@dataclass(frozen=True)
class Exported:
    """The path of the artifact.json, and what came of the attempt at int8; `None` without one."""

    description: Path
    quantised: Quantised | None


def export_artifact(
    model: nn.Module,
    folder: Path,
    provenance: Provenance,
    *,
    selftest: Tensor,
    photographs: Photographs | None = None,
) -> Exported:
    """Write the artifact into `folder`, in int8 too where that answers well for `photographs`.

    `selftest` holds normalised pictures (N, 3, S, S), float32. Moves the model to the CPU. Raises
    `ExportError` when the disk is full or OpenVINO answers other than the PyTorch model.
    """
    model.cpu().eval().to(memory_format=torch.contiguous_format)
    needed = sum(tensor.nbytes for tensor in model.state_dict().values())
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    try:
        partial.mkdir()
        _write_files(model, partial, selftest)
        _check_answers(partial)
        quantised = quantise(partial / "model.xml", photographs) if photographs else None
        if quantised is not None and quantised.network is not None:
            _write_int8(quantised.network, partial)
        _write_description(partial, provenance, quantised)
        return Exported(_move_into_place(partial, folder), quantised)
    except (OSError, RuntimeError) as error:
        raise _failure(error, folder, needed) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_files(model: nn.Module, folder: Path, images: Tensor) -> None:
    with torch.inference_mode():
        logits = model(images)
    _save_array(folder / "selftest_images.npy", images.numpy())
    _save_array(folder / "selftest_logits.npy", logits.numpy())
    network = convert(model, torch.zeros(2, *images.shape[1:]), shape=[-1, *images.shape[1:]])
    network.inputs[0].get_tensor().set_names({"images"})
    network.outputs[0].get_tensor().set_names({"logits"})
    save_network(network, folder / "model.xml")


def _check_answers(folder: Path) -> None:
    """Infer the written files and compare probabilities, as every reader will."""
    images = np.load(folder / "selftest_images.npy", allow_pickle=False)
    expected = np.load(folder / "selftest_logits.npy", allow_pickle=False)
    network = compile_network(folder / "model.xml", precision=torch.float32, threads=1)
    answered = network({"images": images})["logits"]
    difference = float(np.abs(probabilities(answered) - probabilities(expected)).max())
    if not difference <= TOLERANCE:
        raise ExportError(
            f"the exported model's probabilities differ from the trained model's by {difference:.2g}, "
            f"more than {TOLERANCE:g}; nothing was exported"
        )


def _write_int8(network: Any, folder: Path) -> None:
    """The int8 network, and what it answers here for the self-test's pictures."""
    save_network(network, folder / "model_int8.xml")
    images = np.load(folder / "selftest_images.npy", allow_pickle=False)
    written = compile_network(folder / "model_int8.xml", precision=torch.float32, threads=1)
    logits = np.concatenate([written({"images": image[np.newaxis]})["logits"] for image in images])
    _save_array(folder / "selftest_logits_int8.npy", logits)


def probabilities(logits: Array) -> Array:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def _write_description(folder: Path, provenance: Provenance, quantised: Quantised | None) -> None:
    images = np.load(folder / "selftest_images.npy", allow_pickle=False, mmap_mode="r")
    description: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": [{"name": name, "label": label_of(name)} for name in provenance.classes],
        "preprocessing": provenance.preprocessing.as_dict(),
        "input": {"name": "images", "dtype": "float32", "shape": [None, *images.shape[1:]]},
        "output": {"name": "logits", "dtype": "float32", "shape": [None, len(provenance.classes)]},
        "backbones": [dict(backbone) for backbone in provenance.backbones],
        "engines": {"f32": {"model": "model.xml", "weights": "model.bin"}},
        "precision": {"chosen": "f32"} if quantised is None else quantised.as_dict(),
        "selftest": {
            "images": "selftest_images.npy",
            "logits": "selftest_logits.npy",
            "tolerance": TOLERANCE,
        },
        "training_run": dict(provenance.training_run),
        "metrics": dict(provenance.metrics),
        "report_card": dict(provenance.report_card),
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
            for file in sorted(folder.iterdir())
        },
    }
    if quantised is not None and quantised.chosen == "int8":
        description["engines"] |= {"int8": _INT8_ENGINE}
    (folder / DESCRIPTION).write_bytes(_sealed(description))


def _sealed(description: dict[str, Any]) -> bytes:
    """The description's text, with its own digest in it: of the text in which that is empty."""
    text = json.dumps(description | {"sha256": ""}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    before, _, after = text.rpartition('""')  # the last key's value
    return f'{before}"{hashlib.sha256(text.encode()).hexdigest()}"{after}'.encode()


def _save_array(path: Path, array: npt.NDArray[Any]) -> None:
    np.save(path, array.astype(np.float32), allow_pickle=False)


def _move_into_place(partial: Path, folder: Path) -> Path:
    for file in sorted(partial.iterdir(), key=lambda file: file.name == DESCRIPTION):
        os.replace(file, folder / file.name)  # noqa: PTH105
    return folder / DESCRIPTION


def _failure(error: Exception, folder: Path, needed: int) -> ExportError:
    """What went wrong, said for a person; OpenVINO calls a full disk an `iostream error`."""
    free = shutil.disk_usage(folder).free
    if (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}) or free < needed:
        return ExportError(
            f"the disk of {folder} is full: the model needs {needed / 1e6:.0f} MB and "
            f"{free / 1e6:.0f} MB are free; nothing was exported; give the job a larger volume "
            "(VolumeSizeInGB) and train again"
        )
    return ExportError(f"the model could not be exported to {folder}: {error}")
