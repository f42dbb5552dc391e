"""One training job, put together from the other modules. Called by train_model.py and hpo.py.

Each backbone becomes a member (`trainer.members`); several members answer together, one alone is its own
answer.
"""

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from trainer.backbones import Classifier
from trainer.calibration import fit_temperature
from trainer.config import Hyperparameters
from trainer.cpus import process_share
from trainer.data import RobustImageFolder, load_splits
from trainer.distributed import Group, process_group
from trainer.ensemble import Ensemble, combine, fit_weights
from trainer.evaluation import Evaluation, evaluate
from trainer.export import Provenance, export_artifact
from trainer.failures import DataError
from trainer.loading import ImageBatches, normalise
from trainer.locations import Locations
from trainer.machine import Machine
from trainer.members import Job, Member, samples_sha256, train_member
from trainer.observation import Observation
from trainer.precision import choose_device, choose_precision
from trainer.predictions import write_predictions
from trainer.quantisation import CALIBRATION, VALIDATION, Photographs
from trainer.scorecard import Scorecard, confusion_matrix, score, write_report_card
from trainer.termination import Stop
from trainer.training_run import training_run
from trainer.views import CENTRE, Preprocessing, Views

_PATIENCE = timedelta(hours=2)  # of a process for the others: one may have to compute features first


@dataclass(frozen=True)
class Trained:
    """All members, and how they answer together: each one's weight, and one temperature for all.

    `scales` are the members' own temperatures, which make them comparable before they are weighted; a member
    that is unsure of right answers would otherwise get no weight. One member alone has 1.
    """

    members: Sequence[Member]
    scales: Sequence[float]
    shares: Sequence[float]
    temperature: float
    metrics: dict[str, float]

    def combine(self, logits: Sequence[Tensor]) -> Tensor:
        """The members' logits (N, classes) as one, before the temperature."""
        return combine(_divided(logits, self.scales), self.shares)


@contextmanager
def open_machine(settings: Hyperparameters, stop: Stop) -> Iterator[Machine]:
    """This process's part of the machine, and its group where torchrun has started several."""
    device = choose_device(int(os.environ.get("LOCAL_RANK", "0")))
    # A head on cached features is too small to be worth a second thread.
    torch.set_num_threads(1 if settings.cached else process_share(os.environ))
    kind: Literal["cuda", "cpu"] = "cuda" if device.type == "cuda" else "cpu"
    with process_group(os.environ, device_type=kind, timeout=_PATIENCE) as group:
        yield Machine(device, choose_precision(device, mixed=settings.mixed_precision), group, stop)


def prepare(
    settings: Hyperparameters,
    locations: Locations,
    machine: Machine,
    *,
    splits: Sequence[str],
    observation: Observation | None = None,
) -> Job:
    """Check the pictures; `splits` names the data folders to open, `train` first. Raises `DataError`."""
    group = machine.group
    if group.local_rank:
        group.barrier()  # the first process of the host checks the files, the others read its notes
    opened = load_splits(
        locations.data,
        splits,
        max_unreadable=settings.max_unreadable,
        reports=locations.output_data_dir if group.is_main else None,
        cache=locations.cache,
    )
    if not group.local_rank:
        group.barrier()
    _require_same_pictures(opened, group)
    views = Views(Preprocessing(settings.resize, settings.crop), settings.min_crop_area)
    if observation is not None:
        observation.pictures = {name: len(split) for name, split in opened.items()}
    return Job(settings, locations, machine, opened, views, observation)


def _require_same_pictures(splits: Mapping[str, RobustImageFolder], group: Group) -> None:
    """Raise `DataError` where a host has other pictures than the first: a batch names them by number."""
    own = {name: (len(split), samples_sha256(split)) for name, split in splits.items()}
    first = json.loads(group.exchange_bytes(json.dumps(own).encode(), source=0))
    for name, split in splits.items():
        if own[name] != tuple(first[name]):
            left_out = "".join(f"; left out here: {bad.file} ({bad.reason})" for bad in split.quarantined[:3])
            raise DataError(
                f"the {len(split)} pictures of {split.root} on this host are not the {first[name][0]} of the "
                f"first host: every host needs the very same files{left_out}"
            )


def train(job: Job) -> Trained:
    """Train every backbone, reporting metrics after each epoch, and settle how they answer together."""
    names = job.settings.backbones
    members = []
    for number, name in enumerate(names, start=1):
        if len(names) > 1:
            job.say(f"{name}: member {number} of {len(names)}")
        members.append(train_member(job, name))
    trained = settle(members)
    # Once more at the end: what the platform takes for a job's metric is the latest value that it reported.
    job.report(trained.metrics, epoch=members[0].best.epoch if len(members) == 1 else None)
    return trained


def settle(members: Sequence[Member]) -> Trained:
    """Own temperatures, weights, common temperature: each what makes validation's targets most likely."""
    targets = members[0].validation.targets
    logits = [member.validation.logits for member in members]
    scales = [fit_temperature(member, targets) for member in logits] if len(members) > 1 else [1.0]
    logits = _divided(logits, scales)
    shares = fit_weights([torch.log_softmax(member, dim=1) for member in logits], targets)
    combined = combine(logits, shares)
    temperature = fit_temperature(combined, targets)
    if len(members) == 1:
        return Trained(members, scales, shares, temperature, members[0].best.metrics or {})
    together = Evaluation(combined / temperature, targets)
    figures = {"validation:loss": together.loss, "validation:accuracy": together.accuracy}
    return Trained(members, scales, shares, temperature, figures)


def _divided(logits: Sequence[Tensor], scales: Sequence[float]) -> list[Tensor]:
    return [each / scale for each, scale in zip(logits, scales, strict=True)]


@dataclass(frozen=True)
class Tested:
    """What came of the one look at the test split."""

    metrics: dict[str, float]
    card: Scorecard


def test(job: Job, trained: Trained) -> Tested:
    """Answer the test split once; write the answers and the report card down, and report the metrics."""
    split = job.splits["test"]
    evaluations = [
        evaluate(
            member.model,
            member.test,
            job.machine,
            batch_size=job.settings.batch_size,
            label="test",
        )
        for member in trained.members
        if member.test is not None
    ]
    logits = trained.combine([each.logits for each in evaluations])
    answers = Evaluation(logits / trained.temperature, evaluations[0].targets)
    card = score(logits, answers.targets, classes=job.classes, temperature=trained.temperature)
    values = {
        "test:loss": answers.loss,
        "test:accuracy": card.accuracy,
        "test:top5_accuracy": card.top5,
        "test:expected_calibration_error": card.expected_calibration_error,
    }
    job.report(values)
    if job.machine.group.is_main:
        folder = job.locations.output_data_dir
        write_predictions(
            folder, logits=answers.logits, targets=answers.targets, files=split.files, classes=job.classes
        )
        write_report_card(folder, card, confusion_matrix(answers.logits, answers.targets))
    for line in card.lines():
        job.say(line)
    return Tested(values, card)


def export(job: Job, trained: Trained, tested: Tested) -> None:
    """Write the model artifact; its self-test is the first and the last validation picture."""
    if not job.machine.group.is_main:
        return
    job.machine.stop.check()
    provenance = Provenance(
        classes=job.classes,
        preprocessing=job.views.size,
        backbones=[
            {**member.as_dict(), "share": share}
            for member, share in zip(trained.members, trained.shares, strict=True)
        ],
        training_run={
            **training_run(job.settings),
            "pictures": {name: len(split) for name, split in job.splits.items()},
        },
        metrics={**trained.metrics, **tested.metrics},
        report_card=tested.card.as_dict(),
    )
    network = assemble(trained, classes=len(job.classes))
    exported = export_artifact(
        network,
        job.locations.model_dir,
        provenance,
        selftest=_selftest(job),
        photographs=_photographs(job) if job.settings.quantise == "auto" else None,
    )
    if exported.quantised is not None:
        job.say(exported.quantised.line())
    job.say(f"exported to {exported.description.parent}")


def assemble(trained: Trained, *, classes: int) -> nn.Module:
    """Pictures → logits whose softmax is the calibrated answer: the temperature is divided out here."""
    networks = [member.classifier(classes) for member in trained.members]
    if len(networks) == 1:
        _divide_head(networks[0], trained.temperature)
        return networks[0]
    for network, scale in zip(networks, trained.scales, strict=True):
        _divide_head(network, scale)
    return Ensemble(networks, [share / trained.temperature for share in trained.shares])


def _divide_head(network: Classifier, temperature: float) -> None:
    for parameter in network.head.parameters():
        parameter.data.div_(temperature)


def _photographs(job: Job) -> Photographs:
    """Pictures of training and validation, chosen by the seed, and all of test, as evaluation sees them."""
    return Photographs(
        calibration=functools.partial(_chosen, job, "train", CALIBRATION),
        validation=functools.partial(_chosen, job, "valid", VALIDATION),
        test=functools.partial(_chosen, job, "test", len(job.splits["test"])),
    )


def _chosen(job: Job, split: str, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of up to `most` pictures of a split, normalised, with their targets; raises `Terminated`."""
    folder, size = job.splits[split], job.settings.batch_size
    random = np.random.default_rng([job.settings.seed, most])
    samples = np.sort(random.permutation(len(folder))[:most]).tolist()
    requests = [
        [(sample, CENTRE) for sample in samples[start : start + size]]
        for start in range(0, len(samples), size)
    ]
    batches = ImageBatches(folder, job.views, workers=job.settings.workers, batch_size=size)
    for pixels, targets in batches.load(requests):
        job.machine.stop.check()
        yield normalise(pixels).contiguous(), targets


def _selftest(job: Job) -> Tensor:
    """Two normalised pictures (2, 3, S, S)."""
    split = job.splits["valid"]
    ends = (0, len(split) - 1)
    views = [
        job.views.pixels(split.read(index), digest=split.digests[index], number=CENTRE) for index in ends
    ]
    return normalise(torch.stack([torch.from_numpy(view.copy()) for view in views])).contiguous()
