"""One backbone of a job, from its weights to a trained classifier.

With frozen layers the head is trained on features from the cache, and the network itself is not even built
until the artifact is exported; otherwise pictures go through it. Called by `trainer.job`.
"""

import functools
import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tqdm import tqdm

from trainer import metrics
from trainer.backbones import (
    Backbone,
    Classifier,
    Unfreeze,
    build_classifier,
    find_backbone,
    new_head,
    pretrained_head,
)
from trainer.config import Hyperparameters
from trainer.cpus import cpu_limit
from trainer.data import RobustImageFolder
from trainer.engine import Best, fit
from trainer.evaluation import Evaluation, evaluate
from trainer.extraction import Extractor, ensure_features, gpu_extractor, processor_extractor
from trainer.failures import UsageError, WeightsError
from trainer.features import Features, FeatureTable
from trainer.head_start import start_head
from trainer.loading import FeatureBatches, ImageBatches, Source
from trainer.locations import Locations
from trainer.machine import Machine
from trainer.network import HeadOnly, Network
from trainer.observation import Observation
from trainer.views import CENTRE, Views
from trainer.watch import NOBODY, Watch
from trainer.weights import Weights, find_weights, image_weights_folder

_NO_INFLUENCE = {  # on a member's weights
    "backbone", "workers", "checkpoint-steps", "max-unreadable", "on-finding", "debug", "debug-interval",
    "debug-whole", "debug-activations", "profile", "profile-steps", "quantise",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Everything that a run needs, ready to train."""

    settings: Hyperparameters
    locations: Locations
    machine: Machine
    splits: Mapping[str, RobustImageFolder]
    views: Views
    observation: Observation | None = None  # of train_model.py's job, in its first process

    @property
    def classes(self) -> list[str]:
        """Names in the order of the logits."""
        return self.splits["train"].classes

    def watch(self, member: str, sources: Mapping[str, Source]) -> AbstractContextManager[Watch]:
        """What looks on at a member's training on these sources."""
        if self.observation is None:
            return nullcontext(NOBODY)
        cached = [sources[name] for name in ("train", "valid")]
        tables = [
            table
            for source in cached
            if isinstance(source, FeatureBatches)
            for table in source.views.values()
        ]
        return self.observation.member(
            member,
            self.splits["train"].targets,
            classes=len(self.classes),
            extracted=[table.inputs for table in tables if table.inputs],
        )

    def say(self, text: str) -> None:
        """A line for a person, from one process."""
        if self.machine.group.is_main:
            with tqdm.external_write_mode():
                print(text, file=sys.stderr, flush=True)

    def report(self, values: Mapping[str, float], epoch: int | None = None) -> None:
        """A line for the platform, from one process."""
        if self.machine.group.is_main:
            with tqdm.external_write_mode():
                metrics.write_metrics(values, epoch=epoch)


@dataclass(frozen=True)
class Member:
    """A backbone and its head at the best epoch, and what they answer for the validation split.

    Of the pictures it holds the test split's, where there is one; the loader processes of the others end.
    """

    backbone: Backbone
    weights: Weights
    seed: int
    model: HeadOnly | Classifier
    test: Source | None
    best: Best
    validation: Evaluation

    def as_dict(self) -> dict[str, Any]:
        """An entry of `backbones` in artifact.json."""
        return {
            "name": self.backbone.name,
            "weights": self.weights.source,
            "weights_sha256": self.weights.sha256,
            "best_epoch": self.best.epoch,
        }

    def classifier(self, classes: int) -> Classifier:
        """The whole network, pictures → logits."""
        if isinstance(self.model, Classifier):
            return self.model
        network = build_network(self.backbone, self.weights, classes=classes, seed=self.seed)
        network.head.load_state_dict(self.model.head.state_dict())
        return network


def train_member(job: Job, name: str) -> Member:
    """Train one backbone; the model is left at its best epoch. Raises `TrainerError`s."""
    settings, machine = job.settings, job.machine
    backbone = find_backbone(name)
    weights = find_weights(
        backbone, settings.weights, channel=job.locations.pretrained, image=image_weights_folder()
    )
    job.say(f"{name}: weights from {weights.source} ({weights.file or 'random numbers'})")
    model: HeadOnly | Classifier
    if settings.cached:
        sources = _cached_sources(job, backbone, weights)
        model = HeadOnly(new_head(backbone.features, len(job.classes))).to(machine.device)
    else:
        sources = _picture_sources(job)
        model = build_network(backbone, weights, classes=len(job.classes), seed=settings.seed)
        _require_takes(model, backbone, job.views)
        model.unfreeze(cast(Unfreeze, settings.unfreeze))
        model.to(machine.device).to(memory_format=torch.channels_last)
    with job.watch(name, sources) as watch:
        best = fit(
            model,
            sources["train"],
            sources["valid"],
            settings,
            machine,
            checkpoints=_checkpoints(job, backbone, weights),
            report=job.report,
            start=functools.partial(_start, job, backbone, weights, model, sources["train"]),
            watch=watch,
        )
    validation = evaluate(
        model, sources["valid"], machine, batch_size=settings.batch_size, label="validation"
    )
    return Member(backbone, weights, settings.seed, model, sources.get("test"), best, validation)


def _start(job: Job, backbone: Backbone, weights: Weights, model: Network, training: Source) -> None:
    """Begin with what the pretrained classifier knows, where there is one."""
    pretrained = pretrained_head(backbone, weights.tensors)
    if pretrained is not None:
        start_head(model, training, pretrained, job.machine, batch_size=job.settings.batch_size)


def build_network(backbone: Backbone, weights: Weights, *, classes: int, seed: int) -> Classifier:
    """The backbone with its weights and a new head; raises `WeightsError` where they do not fit."""
    try:
        return build_classifier(backbone, weights.tensors, classes=classes, seed=seed)
    except ValueError as error:
        raise WeightsError(f"{weights.file} does not fit {backbone.name}: {error}") from error


def _picture_sources(job: Job) -> dict[str, Source]:
    return {
        name: ImageBatches(split, job.views, workers=job.settings.workers, batch_size=job.settings.batch_size)
        for name, split in job.splits.items()
    }


def _cached_sources(job: Job, backbone: Backbone, weights: Weights) -> dict[str, Source]:
    """Batches of features: of the training pictures in training's precision, of the others in float32."""
    settings, machine = job.settings, job.machine
    numbers = range(settings.view_count or settings.epochs + 1)  # 0 views: the centre, and one for each epoch
    builder = _extractor_builder(job, backbone, weights)

    @functools.cache  # opening a table checks every shard of it
    def table(number: int, precision: torch.dtype) -> FeatureTable:
        return FeatureTable(
            job.locations.cache,
            backbone=backbone.name,
            width=backbone.features,
            identity={
                "weights": weights.sha256 or f"random {settings.seed} {torch.__version__}",
                "precision": str(precision).removeprefix("torch."),
                **job.views.as_dict(number),
            },
        )

    def features(split: str, number: int, precision: torch.dtype) -> Features:
        build = functools.partial(builder, precision)
        held = table(number, precision)
        return ensure_features(held, job.splits[split], number, build=build, group=machine.group)

    sources: dict[str, Source] = {}
    for name, split in job.splits.items():
        training = name == "train"
        precision = machine.precision if training else torch.float32
        views = {number: features(name, number, precision) for number in (numbers if training else [CENTRE])}
        sources[name] = FeatureBatches(views, split.targets)
    return sources


def _extractor_builder(job: Job, backbone: Backbone, weights: Weights) -> Any:
    """A function precision → extractor, which builds each one once, and only when it is asked for."""
    settings, machine = job.settings, job.machine

    @functools.cache
    def network() -> Classifier:
        model = build_network(backbone, weights, classes=1, seed=settings.seed)
        _require_takes(model, backbone, job.views)
        return model

    @functools.cache
    def build(precision: torch.dtype) -> Extractor:
        if machine.device.type == "cuda":
            return gpu_extractor(
                network(), job.views, device=machine.device, precision=precision, workers=settings.workers
            )
        # All of them, even beside other jobs: those that want these very features wait for them.
        threads = max(1, cpu_limit() // machine.group.local_size)
        return processor_extractor(network(), job.views, precision=precision, threads=threads)

    return build


@torch.inference_mode()
def _require_takes(model: Classifier, backbone: Backbone, views: Views) -> None:
    """Raise `UsageError` where the network takes no pictures of that size: some take one alone."""
    side = views.size.crop
    try:
        model.extract(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"{backbone.name} takes no pictures of {side} x {side} (crop): {str(error).splitlines()[0]}"
        ) from error


def _checkpoints(job: Job, backbone: Backbone, weights: Weights) -> Path:
    """The folder of this very training: other settings, pictures or weights have another."""
    settings = {name: value for name, value in job.settings.as_dict().items() if name not in _NO_INFLUENCE}
    pictures = samples_sha256(job.splits["train"], job.splits["valid"])
    identity = json.dumps([settings, weights.sha256, pictures], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return job.locations.checkpoints / f"{backbone.name.replace(':', '-')}-{digest}"


def samples_sha256(*splits: RobustImageFolder) -> str:
    """A digest of what the samples are: classes, targets and contents, in their order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(json.dumps([split.classes, list(split.targets)]).encode())
        digest.update(b"".join(split.digests))
    return digest.hexdigest()
