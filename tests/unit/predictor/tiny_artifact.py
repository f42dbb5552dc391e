"""Writes a tiny but real artifact: an OpenVINO network of a few hundred weights, no training."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

SIZE = 224
CLASSES = (
    "001.Affenpinscher",
    "002.Afghan_hound",
    "003.Airedale_terrier",
    "004.Akita",
    "005.Boxer",
    "006.Dingo",
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_tiny_artifact(folder: Path, *, classes: tuple[str, ...] = CLASSES, seed: int = 7) -> Path:
    """Write a whole artifact into `folder`: pictures pooled to 7 × 7 colours, then one linear layer."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    weights = rng.normal(scale=0.3, size=(3 * 7 * 7, len(classes))).astype(np.float32)
    _write_network(folder, weights)
    images = rng.normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)
    pooled = images.reshape(2, 3, 7, SIZE // 7, 7, SIZE // 7).mean(axis=(3, 5)).reshape(2, -1)
    np.save(folder / "selftest_images.npy", images)
    np.save(folder / "selftest_logits.npy", (pooled @ weights).astype(np.float32))
    write_description(folder, description(folder, classes))
    return folder


def write_explainable_artifact(folder: Path) -> Path:
    """The same with a network that ends in global pooling and a linear layer, over 7 × 7 feature maps."""
    write_tiny_artifact(folder)
    rng = np.random.default_rng(11)
    filters, linear = rng.normal(size=(8, 3, 32, 32)) / 40, rng.normal(size=(len(CLASSES), 8))
    images = ops.parameter([-1, 3, SIZE, SIZE], dtype=np.float32, name="images")
    images.output(0).set_names({"images"})
    convolved = ops.convolution(
        images, ops.constant(filters.astype(np.float32)), [32, 32], [0, 0], [0, 0], [1, 1]
    )
    pooled = ops.reduce_mean(ops.relu(convolved), np.array([2, 3]), keep_dims=True)
    flat = ops.reshape(pooled, np.array([-1, 8]), special_zero=False)
    logits = ops.add(
        ops.matmul(flat, ops.constant(linear.astype(np.float32)), False, True),
        ops.constant(rng.normal(size=(1, len(CLASSES))).astype(np.float32)),
    )
    logits.output(0).set_names({"logits"})
    network = openvino.Model([logits], [images], "explainable")
    openvino.save_model(network, folder / "model.xml", compress_to_fp16=False)
    compiled = openvino.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.save(folder / "selftest_logits.npy", compiled(np.load(folder / "selftest_images.npy"))[0])
    write_description(folder, description(folder))
    return folder


def add_int8_engine(folder: Path) -> Path:
    """Give an artifact a second engine under the name of int8, with weights of its own."""
    weights = np.random.default_rng(8).normal(scale=0.3, size=(3 * 7 * 7, len(CLASSES))).astype(np.float32)
    _write_network(folder, weights, "model_int8.xml")
    images = np.load(folder / "selftest_images.npy")
    pooled = images.reshape(2, 3, 7, SIZE // 7, 7, SIZE // 7).mean(axis=(3, 5)).reshape(2, -1)
    np.save(folder / "selftest_logits_int8.npy", (pooled @ weights).astype(np.float32))
    content = description(folder)
    content["engines"]["int8"] = {
        "model": "model_int8.xml",
        "weights": "model_int8.bin",
        "selftest": {"logits": "selftest_logits_int8.npy", "tolerance": 0.05},
    }
    content["precision"] = {"chosen": "int8", "accuracy": {"f32": 0.9, "int8": 0.9}}
    for name in ("model_int8.xml", "model_int8.bin", "selftest_logits_int8.npy"):
        content["files"][name] = fingerprint(folder / name)
    write_description(folder, content)
    return folder


def _write_network(folder: Path, weights: np.ndarray, name: str = "model.xml") -> None:
    images = ops.parameter([-1, 3, SIZE, SIZE], dtype=np.float32, name="images")
    images.output(0).set_names({"images"})
    step = SIZE // 7
    pooled = ops.avg_pool(images, [step, step], [0, 0], [0, 0], [step, step], exclude_pad=True)
    flat = ops.reshape(pooled, np.array([-1, len(weights)], dtype=np.int64), special_zero=False)
    logits = ops.matmul(flat, ops.constant(weights), False, False)
    logits.output(0).set_names({"logits"})
    openvino.save_model(openvino.Model([logits], [images], "tiny"), folder / name, compress_to_fp16=False)


def description(folder: Path, classes: tuple[str, ...] = CLASSES) -> dict[str, Any]:
    """A correct `artifact.json` for what lies in `folder`."""
    names = ("model.xml", "model.bin", "selftest_images.npy", "selftest_logits.npy")
    return {
        "schema_version": 1,
        "created": "2026-01-01T00:00:00Z",
        "classes": [{"name": name, "label": name.split(".", 1)[1].replace("_", " ")} for name in classes],
        "preprocessing": {
            "resize": 256,
            "crop": SIZE,
            "interpolation": "bilinear",
            "mean": list(MEAN),
            "std": list(STD),
        },
        "input": {"name": "images", "dtype": "float32", "shape": [None, 3, SIZE, SIZE]},
        "output": {"name": "logits", "dtype": "float32", "shape": [None, len(classes)]},
        "backbones": [{"name": "tiny", "weights": "none", "weights_sha256": None}],
        "engines": {"f32": {"model": "model.xml", "weights": "model.bin"}},
        "selftest": {"images": "selftest_images.npy", "logits": "selftest_logits.npy", "tolerance": 1e-3},
        "training_run": {},
        "metrics": {},
        "files": {name: fingerprint(folder / name) for name in names},
    }


def fingerprint(file: Path) -> dict[str, Any]:
    """The `files` entry of one file."""
    content = file.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_description(folder: Path, content: dict[str, Any]) -> None:
    """Write `artifact.json`, with its own digest."""
    text = json.dumps(content | {"sha256": ""}, indent=1)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "artifact.json").write_text(text.replace('"sha256": ""', f'"sha256": "{digest}"'))
