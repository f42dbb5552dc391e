"""The training loop: steps, epochs, and `fit`, which keeps the best of them.

A step is the same whether it is done whole or, where the GPU's memory is too small, in pieces; by one process
or by several; at once or after a restart. Called by the job. Sums are kept by picture, so a last, smaller
batch weighs no more than it should.
"""

import contextlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from trainer.config import Hyperparameters
from trainer.evaluation import evaluate, progress_bar
from trainer.failures import TrainingError
from trainer.loading import Plan, Source
from trainer.machine import Machine
from trainer.network import Network
from trainer.optimisation import (
    Mixture,
    Optimizer,
    Tensors,
    dropout_mask,
    random_generator,
    share_of_peak,
    update_average,
)
from trainer.pieces import out_of_memory, piece_size
from trainer.termination import Terminated
from trainer.watch import NOBODY, Watch

Report = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class Best:
    """The epoch best on validation, by accuracy, then by loss; 0 before the first."""

    epoch: int = 0
    metrics: dict[str, float] | None = None

    @property
    def accuracy(self) -> float:
        """Its validation accuracy; -1 before the first."""
        return self.metrics["validation:accuracy"] if self.metrics else -1.0

    def beaten_by(self, metrics: dict[str, float]) -> bool:
        """Whether these metrics are better."""
        return self.metrics is None or _rank(metrics) > _rank(self.metrics)


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    return metrics["validation:accuracy"], -metrics["validation:loss"]


@dataclass(frozen=True)
class Position:
    """Where training is: the epoch being trained, from 1, its steps done, epochs without better accuracy."""

    epoch: int = 1
    step: int = 0
    stale: int = 0


def fit(
    model: Network,
    training: Source,
    validation: Source,
    settings: Hyperparameters,
    machine: Machine,
    *,
    checkpoints: Path,
    report: Report,
    start: Callable[[], None] = lambda: None,
    watch: Watch = NOBODY,
) -> Best:
    """Train what `model` leaves unfrozen, and leave it with the weights of the epoch best on validation.

    Goes on from the newest whole checkpoint in `checkpoints`; where there is none, `start` gives the model
    the weights to begin with. `report` is called after each epoch with its metrics and its number, from 1,
    and `watch` is told of every step. On a stop request writes a checkpoint and raises `Terminated`.
    Raises `TrainingError` when training diverges or a single picture exhausts the GPU's memory.
    """
    run = _Run(
        model, training, validation, settings, machine, checkpoints=checkpoints, report=report, watch=watch
    )
    with machine.stop.deferred():
        if not run.restore():
            start()
            run.begin()
        try:
            run.begin_watch()
            while not run.finished:
                run.train_epoch()
                run.end_epoch()
        finally:
            watch.end()
    run.load_best()
    return run.best


class _Run:
    """One training run, between its checkpoints."""

    def __init__(
        self,
        model: Network,
        training: Source,
        validation: Source,
        settings: Hyperparameters,
        machine: Machine,
        *,
        checkpoints: Path,
        report: Report,
        watch: Watch,
    ) -> None:
        self.watch = watch
        self.history: list[dict[str, float]] = []  # metrics of the epochs done
        self.model, self.settings, self.machine = model, settings, machine
        self.training, self.validation = training, validation
        self.checkpoints, self.report = checkpoints, report
        self.plan = Plan(
            samples=len(training),
            batch_size=settings.batch_size,
            seed=settings.seed,
            views=settings.view_count,
            rank=machine.group.rank,
            ranks=machine.group.size,
        )
        self.optimizer = Optimizer(model.stages(), settings)
        self.weights = self.optimizer.weights
        self.average: Tensors = {}
        self.best_weights: Tensors = {}
        self.best, self.position = Best(), Position()
        self.totals = torch.zeros(3, dtype=torch.float64, device=machine.device)  # loss, right ones, pictures
        self.seconds, self.waited = 0.0, 0.0  # spent on the epoch, and in it waiting for data
        self.piece = settings.batch_size  # pictures that go through the network at once
        self.extract = _compiled(model.extract) if settings.compile and not settings.cached else model.extract

    def begin(self) -> None:
        """Remember the weights that training begins with."""
        self.best_weights = _copy(self.weights)
        self.average = _copy(self.weights) if self.settings.ema else {}

    def begin_watch(self) -> None:
        """Tell who looks on where training is."""
        self.watch.begin(
            cast(nn.Module, self.model),
            self.checkpoints,
            epoch_steps=self.plan.steps,
            epoch=self.position.epoch,
            step=self.position.step,
            past=self.history,
        )

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or enough of them brought nothing."""
        patience = self.settings.patience
        return self.position.epoch > self.settings.epochs or 0 < patience <= self.position.stale

    @property
    def steps_done(self) -> int:
        return (self.position.epoch - 1) * self.plan.steps + self.position.step

    # ── an epoch ──────────────────────────────────────────────────────────────────────────────────

    def train_epoch(self) -> None:
        """The steps that are left of the epoch; writes checkpoints, and raises `Terminated` after one."""
        position = self.position
        label = f"epoch {position.epoch}/{self.settings.epochs}"
        batches = self.training.load(self.plan.epoch(position.epoch, first_step=position.step))
        seen = position.step * self.plan.batch_size
        self.watch.begin_epoch()
        with progress_bar(len(self.training), label, done=seen) as bar:
            while True:
                begun = time.perf_counter()
                with self.watch.phase("data wait"):
                    batch = next(batches, None)
                self.waited += time.perf_counter() - begun
                if batch is None:
                    if self.machine.device.type == "cuda":
                        torch.cuda.synchronize(self.machine.device)
                    self.seconds += time.perf_counter() - begun
                    return
                total = self.plan.size(self.position.step)
                self.watch.begin_step(position.epoch, self.position.step)
                done = self.step(*batch, total)
                self.watch.end_step(done=done)
                self.seconds += time.perf_counter() - begun
                if not done:
                    self.save()
                    self.machine.stop.requested = True
                    self.machine.stop.check()
                self.position = replace(self.position, step=self.position.step + 1)
                bar.update(total)
                if self.steps_done % self.settings.checkpoint_steps == 0:
                    self.save()

    def end_epoch(self) -> None:
        """Evaluate, report, remember the best, and write a checkpoint; raises `Terminated` after one."""
        trained = self._trained()
        try:
            with self._averaged(), self.watch.phase("validation"):
                validated = evaluate(
                    self.model,
                    self.validation,
                    self.machine,
                    batch_size=self.settings.batch_size,
                    label="validation",
                )
        except Terminated:
            self.save()
            raise
        self._require_finite(validated.loss, "the validation loss")
        metrics = {**trained, "validation:loss": validated.loss, "validation:accuracy": validated.accuracy}
        epoch = self.position.epoch
        self.report(metrics, epoch)
        self.history.append({"epoch": epoch, **metrics})
        # A better loss at the same accuracy is kept, but is no reason to go on: a loss can fall for ever.
        stale = 0 if validated.accuracy > self.best.accuracy else self.position.stale + 1
        if self.best.beaten_by(metrics):
            self.best, self.best_weights = Best(epoch, metrics), _copy(self.average or self.weights)
        self.position = Position(epoch + 1, stale=stale)
        self.totals.zero_()
        self.seconds = self.waited = 0.0
        self.save()
        self.watch.end_epoch(epoch, metrics)

    def _trained(self) -> dict[str, float]:
        """The epoch's training figures, over all processes."""
        loss, right, pictures = self._all_totals().tolist()
        self._require_finite(loss, "the loss")
        return {
            "train:loss": loss / pictures,
            "train:accuracy": right / pictures,
            "train:images_per_second": pictures / self.seconds,
            "train:data_wait": self.waited / self.seconds,
        }

    def _require_finite(self, loss: float, name: str) -> None:
        if not math.isfinite(loss):
            self.watch.diverged(self.position.epoch, loss)
            raise TrainingError(
                f"{name} became {loss} in epoch {self.position.epoch}/{self.settings.epochs}: "
                "lower learning-rate, or look for damaged weights"
            )

    def _all_totals(self) -> Tensor:
        totals = self.totals.clone()
        self.machine.group.sum(totals)
        return totals

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model has its averaged weights inside, when there are any."""
        if not self.average:
            yield
            return
        trained = _copy(self.weights)
        _load(self.weights, self.average)
        try:
            yield
        finally:
            _load(self.weights, trained)

    def load_best(self) -> None:
        """Leave the model with the weights of its best epoch."""
        _load(self.weights, self.best_weights)

    # ── a step ────────────────────────────────────────────────────────────────────────────────────

    def step(self, inputs: Tensor, targets: Tensor, total: int) -> bool:
        """One optimiser step over `total` pictures of all processes; whether it was done.

        When any of them is asked to stop, all give it up: the weights stay those of the last whole step.
        """
        done = self.steps_done
        steps = self.settings.epochs * self.plan.steps
        with self.watch.phase("copy"):
            inputs, targets = (rows.to(self.machine.device, non_blocking=True) for rows in (inputs, targets))
            mixture = None
            if self.settings.mixup:
                mixture, inputs, targets = self.with_partners(inputs, targets, total)
            inputs = self.training.prepare(inputs, self.machine.device)
        self.watch.inputs(inputs)
        counted = self.gradients(inputs, targets, total, mixture)
        if self.share_gradients():
            return False
        self.totals += counted
        self.watch.gradients(counted)
        with self.watch.phase("optimiser"):
            if self.settings.clip_gradients:
                torch.nn.utils.clip_grad_norm_(self.weights.values(), self.settings.clip_gradients)
            self.optimizer.step(share_of_peak(done, steps=steps, warmup=self.settings.warmup))
            if self.average:
                update_average(self.average, self.weights, decay=self.settings.ema, step=done)
        return True

    def with_partners(self, inputs: Tensor, targets: Tensor, total: int) -> tuple[Mixture, Tensor, Tensor]:
        """What mixup mixes, and behind this process's rows those of the others that it needs for that.

        Rows are sent as they were loaded: nothing is decoded twice, and a batch is mixed as by one process.
        """
        settings, group = self.settings, self.machine.group
        whole = Mixture.drawn(total, alpha=settings.mixup, numbers=(settings.seed, self.steps_done))
        mixture, wanted = whole.part(group.rank, group.size)
        if group.size > 1:
            wanted = wanted.to(inputs.device)
            inputs = torch.cat([inputs, group.gather_rows(inputs)[wanted]])
            targets = torch.cat([targets, group.gather_rows(targets)[wanted]])
        return mixture, inputs, targets

    def gradients(self, inputs: Tensor, targets: Tensor, total: int, mixture: Mixture | None) -> Tensor:
        """Gradients of this process's share of the loss; returns loss, right ones and pictures.

        Both are unfinished when a stop is requested meanwhile.
        Where the GPU's memory does not suffice the batch goes through in pieces of half the size, and
        their gradients add up to the same.
        """
        while True:
            self.optimizer.zero_gradients()
            try:
                return self._accumulated(inputs, targets, total, mixture)
            except torch.OutOfMemoryError as error:
                if self.piece == 1 or len(inputs) < 2:
                    raise out_of_memory() from error
            self.piece = -(-min(self.piece, len(inputs)) // 2)
            torch.cuda.empty_cache()
            print(
                f"the GPU's memory is exhausted: a step of {total} pictures now goes through in pieces of "
                f"{self.piece}, whose gradients are added up",
                file=sys.stderr,
            )

    def _accumulated(self, inputs: Tensor, targets: Tensor, total: int, mixture: Mixture | None) -> Tensor:
        settings, counted = self.settings, torch.zeros_like(self.totals)
        if not len(inputs):
            return counted
        self.watch.begin_forward()
        if settings.frozen:  # these need no gradients, and so little memory
            with self.watch.phase("forward"):
                features = [self.features(piece) for (piece,) in self.pieces(inputs)]
            if self.machine.stop.requested:
                return counted
            inputs = torch.cat(features)
        goals = functional.one_hot(targets, self.model.head.out_features).float()
        if mixture:
            inputs, goals = mixture.mix(inputs), mixture.mix(goals)
            targets = targets[: len(goals)]
        for piece, truth, goal, kept in self.pieces(inputs, targets, goals, self._kept(total)):
            with self.watch.phase("forward"):
                logits = self.model.head((piece if settings.frozen else self.features(piece)) * kept)
                loss = functional.cross_entropy(
                    logits, goal, reduction="sum", label_smoothing=settings.label_smoothing
                )
            with self.watch.phase("backward"):
                (loss / total).backward()
            counted[0] += loss.detach()
            counted[1] += (logits.detach().argmax(1) == truth).sum()
            counted[2] += len(truth)
        return counted

    def pieces(self, inputs: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Rows of the inputs and of what belongs to them; ends early when a stop is requested."""
        size = min(self.piece, piece_size(inputs))
        for piece in zip(*(tensor.split(size) for tensor in (inputs, *others)), strict=True):
            if self.machine.stop.requested:
                return
            yield piece

    def features(self, inputs: Tensor) -> Tensor:
        """The head's inputs, float32; a frozen network keeps no gradients."""
        with torch.set_grad_enabled(not self.settings.frozen), self.machine.autocast():
            features = self.extract(inputs)
        return features.float()

    def _kept(self, total: int) -> Tensor:
        """Dropout's factors for this process's rows of the batch: (n, features), or (n, 1) of ones."""
        group, share = self.machine.group, self.settings.dropout
        if not share:
            mask = torch.ones(total, 1)
        else:
            generator = random_generator(self.settings.seed, self.steps_done)
            mask = dropout_mask(total, self.model.head.in_features, share=share, generator=generator)
        return mask[group.rank :: group.size].to(self.machine.device)

    def share_gradients(self) -> bool:
        """Add up the gradients of all processes; whether any of them was asked to stop.

        The request travels with the gradients, whether or not they are finished, so all give up the same
        step and none waits for another.
        """
        if self.machine.group.size == 1:
            return self.machine.stop.requested
        gradients = self.optimizer.gradients()
        asked = torch.tensor([float(self.machine.stop.requested)], device=self.machine.device)
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), asked])
        self.machine.group.sum(flat)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, summed in zip(gradients, flat[:-1].split(sizes), strict=True):
            gradient.copy_(summed.view_as(gradient))
        return bool(flat[-1].item())

    # ── checkpoints ───────────────────────────────────────────────────────────────────────────────

    def save(self) -> None:
        """Write a checkpoint; all processes call, the first one writes."""
        with self.watch.phase("checkpoint"):
            self._save()

    def _save(self) -> None:
        totals = self._all_totals()
        if not self.machine.group.is_main:
            return
        groups = {
            "weights": self.weights,
            "best": self.best_weights,
            "average": self.average,
            "momentum": self.optimizer.momentum,
            "totals": {"": totals},
        }
        tensors = {f"{kind}:{name}": value for kind, held in groups.items() for name, value in held.items()}
        state = {
            "position": asdict(self.position),
            "best": asdict(self.best),
            "seconds": self.seconds,
            "waited": self.waited,
            "piece": self.piece,
            "history": self.history,
        }
        save_checkpoint(self.checkpoints, Checkpoint(self.steps_done, tensors, state))

    def restore(self) -> bool:
        """Go on from the newest whole checkpoint; whether there is one."""
        checkpoint = newest_checkpoint(self.checkpoints) if self.machine.group.is_main else None
        checkpoint = self._shared(checkpoint)
        if checkpoint is None:
            return False
        held: dict[str, Tensors] = {"weights": {}, "best": {}, "average": {}, "momentum": {}, "totals": {}}
        for name, tensor in checkpoint.tensors.items():
            kind, _, rest = name.partition(":")
            held[kind][rest] = tensor.to(self.machine.device)
        _load(self.weights, held["weights"])
        self.best_weights, self.average = held["best"], held["average"]
        _load(self.optimizer.momentum, held["momentum"])
        if self.machine.group.is_main:
            self.totals.copy_(held["totals"][""])
        state = checkpoint.state
        self.position, self.best = Position(**state["position"]), Best(**state["best"])
        self.seconds, self.waited, self.piece = state["seconds"], state["waited"], state["piece"]
        self.history = state["history"]
        print(
            f"going on from the checkpoint of step {checkpoint.step} of "
            f"{self.settings.epochs * self.plan.steps} in {self.checkpoints}",
            file=sys.stderr,
        )
        return True

    def _shared(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """The first process's checkpoint, for all: another host need not have the file."""
        group = self.machine.group
        if group.size == 1:
            return checkpoint
        content = b""
        if checkpoint is not None:
            content = safetensors.torch.save(checkpoint.tensors)
        header = json.dumps([checkpoint.step, checkpoint.state] if checkpoint else None).encode()
        step_and_state = json.loads(group.exchange_bytes(header if group.is_main else None, source=0))
        if step_and_state is None:
            return None
        content = group.exchange_bytes(content if group.is_main else None, source=0)
        return Checkpoint(step_and_state[0], safetensors.torch.load(content), step_and_state[1])


def _compiled(extract: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if not shutil.which(os.environ.get("CXX", "g++")):
        raise TrainingError(
            "compile needs a C++ compiler, which the training image leaves out: train in one built FROM it "
            "with g++ and python3-dev (--image), or leave compile false"
        )
    compiled = torch.compile(extract)

    def call(inputs: Tensor) -> Tensor:
        try:
            return compiled(inputs)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            folder = torch._inductor.runtime.cache_dir_utils.cache_dir()
            raise TrainingError(
                f"the network cannot be compiled: {str(error).splitlines()[0]}; what an earlier compilation "
                f"left may be damaged: remove {folder}, or leave compile false"
            ) from error

    return call


def _copy(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def _load(into: Tensors, values: Tensors) -> None:
    for name, tensor in into.items():
        tensor.copy_(values[name])
