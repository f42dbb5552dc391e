"""Saves what a training's tensors look like, through smdebug, and asks the rules about them as it goes.

Saved at chosen steps, as reductions unless whole tensors are asked for: the loss, the gradients before they
are clipped, the weights before the step, what the step changed, the head's inputs and outputs, the pictures
that reach the network, and activations of the layers that were asked for; after each epoch the validation
loss and the epoch's metrics. `trainer.watch` calls it, in the first of several processes.

Without a schedule of the platform's or the user's it saves as often as 1 % of the training time allows, at
most 20 times an epoch; 0.4 seconds, spread over the run, are free, which a short one does with.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.failures import UsageError
from trainer.findings import Finding
from trainer.hook import DebugSettings, create_hook
from trainer.moments import Moments
from trainer.rules import RULES, Watchers
from trainer.smdebug_support import END_OF_JOB_FILENAME, ModeKeys
from trainer.tensor_rules import health
from trainer.trial_steps import SavedStep, is_trial, remove_steps, saved_steps, write_step

_SAVES_AN_EPOCH = 20
_FREE_SECONDS, _FREE_AT_ONCE = 0.4, 0.3  # the time for saving that a run of any length has
_SHARE, _SHARE_OF_FIRST = 0.01, 0.05  # and of its own time; more for the first step of an epoch
_ENOUGH_VALUES = 2**24  # of a layer's output, whatever the batch is
_NETWORK = "Classifier"  # smdebug's names begin with the network's class, also on cached features
_LOSS = "CrossEntropyLoss_output_0"


@dataclass(frozen=True)
class Steps:
    """How many steps a training has: of an epoch, and of all epochs."""

    epoch: int
    epochs: int

    @property
    def total(self) -> int:
        """Of all epochs."""
        return self.epoch * self.epochs


class Debugger:
    """Saves the tensors of one network's training to `folder`, and asks the rules about each saved step.

    `class_counts` are the training pictures of each class, `extracted` the moments of what cached features
    were computed from. In a run that continues steps have the numbers
    that they would have had: those of an epoch, then its evaluation. `on_finding` is called with each finding
    as it comes; `findings` has them all, `saves` counts the saved steps, and `seconds` is the time that all
    of it has taken. Raises `UsageError` for a configuration that smdebug refuses.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        settings: DebugSettings,
        *,
        class_counts: Sequence[int],
        extracted: Sequence[Moments] = (),
        steps: Steps,
        on_finding: Callable[[Finding], None],
    ) -> None:
        self.folder, self.model, self.settings = folder, model, settings
        self.class_counts, self.extracted = class_counts, extracted
        self.steps, self.on_finding = steps, on_finding
        self.findings: list[Finding] = []
        self.weights = {
            f"{_NETWORK}_{name}": parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.layers = _layers(model, settings.activations)
        self.watchers = Watchers(folder.name)
        self.saving = False
        self.saves = 0
        self._began, self.seconds, self._entered = time.perf_counter(), 0.0, 0.0
        self._uncharged = 0.0  # seconds of ends of epochs and of the first save, which is slow once
        self._writes, self._counted, self._step = True, False, 0
        self._removers: list[Any] = []
        self._outputs: dict[str, list[Tensor]] = {}
        self._before: dict[str, Tensor] = {}
        self._writing(
            (folder / END_OF_JOB_FILENAME).unlink, missing_ok=True
        )  # smdebug adds to no ended trial
        self._hook = create_hook(folder, settings)

    def resume(self, epoch: int, step: int, said: Sequence[Finding]) -> None:
        """Begin at a step of an epoch, from 1 and 0: the rules see what came before, what came after goes.

        `said` is what the job that goes on has found until now, perhaps in a container that is gone.
        """
        rules, done = {rule.__name__ for rule in RULES}, (epoch - 1) * self.steps.epoch + step
        before = [each for each in said if each.rule in rules and each.step is not None and each.step < done]
        self.watchers.remember(before)
        for finding in before:
            self._tell(finding)
        if not is_trial(self.folder):
            return
        self._writing(remove_steps, self.folder, self._number(epoch, step))
        for saved in saved_steps(self.folder):
            self._counted = True
            self._ask(saved)

    # ── a step ────────────────────────────────────────────────────────────────────────────────────

    def begin_step(self, epoch: int, step: int) -> None:
        """Decide whether this step, from 0 in its epoch, is saved."""
        self._enter()
        done = self._step = (epoch - 1) * self.steps.epoch + step
        self._hook.at(self._number(epoch, step), ModeKeys.TRAIN, done)
        self.saving = self._hook.wants_step() and (self._hook.scheduled or self._affordable(step, done))
        if self.saving:
            if not self._counted:
                self._hook.save("class_counts", torch.tensor(self.class_counts))
                if self.extracted:
                    numbers = [(each.mean, each.deviation) for each in self.extracted]
                    self._hook.save("extracted_inputs", torch.tensor(numbers))
            for name, layer in self.layers.items():
                self._removers.append(layer.register_forward_hook(partial(self._keep, name)))
        self._leave()

    def _affordable(self, step: int, done: int) -> bool:
        """Whether it is the turn of this step, and saving has taken no more than its share of the time."""
        if step % max(1, self.steps.epoch // _SAVES_AN_EPOCH):
            return False
        free = _FREE_SECONDS * max(_FREE_AT_ONCE, done / self.steps.total)
        share = _SHARE_OF_FIRST if step == 0 else _SHARE
        elapsed = time.perf_counter() - self._began
        return self.seconds - self._uncharged < free + share * elapsed

    def begin_forward(self) -> None:
        """Forget activations: a batch that did not fit into memory goes through again."""
        self._outputs.clear()

    def _keep(self, name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what goes in and out of the head; of other layers the output, unless it is very large."""
        if layer is self.model.head:
            self._outputs.setdefault(f"{name}_input_0", []).append(inputs[0].detach())
            self._outputs.setdefault(f"{name}_output_0", []).append(output.detach())
        elif isinstance(output, Tensor):
            pieces = self._outputs.setdefault(f"{name}_output_0", [])
            if sum(piece.numel() for piece in pieces) < _ENOUGH_VALUES:
                pieces.append(output.detach())

    @torch.no_grad()
    def inputs(self, pictures: Tensor) -> None:
        """Take pictures (N, 3, S, S) as they reach the network; features are the head's inputs."""
        if self.saving and pictures.ndim == 4:
            self._enter()
            self._hook.save(f"{_NETWORK}_input_0", pictures.float())
            self._leave()

    @torch.no_grad()
    def gradients(self, counted: Tensor) -> None:
        """Take the loss, activations, gradients and weights, before the optimiser changes them.

        `counted` are the sum of the losses, the right answers and the pictures of the step.
        """
        if not self.saving:
            return
        self._enter()
        self._hook.save(_LOSS, counted[0] / counted[2])
        for name, pieces in self._outputs.items():
            activations = torch.cat(pieces).float()
            self._hook.save(name, activations)
            if activations.ndim > 1 and name != "head_output_0":
                found = health(activations)
                self._hook.save(f"dead/{name}", torch.tensor(found.dead))
                self._hook.save(f"saturated/{name}", torch.tensor(found.saturated))
        self._outputs.clear()
        for name, weight in self.weights.items():
            self._hook.save(name, weight.detach())
            if weight.grad is not None:
                self._hook.save(f"gradient/{name}", weight.grad)
        self._before = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self._leave()

    @torch.no_grad()
    def end_step(self, *, done: bool) -> None:
        """Take what the step changed, and save it all; nothing of a step that was given up."""
        if not self.saving:
            return
        self._enter()
        self.saving = False
        while self._removers:
            self._removers.pop().remove()
        if done:
            for name, weight in self.weights.items():
                self._hook.save(f"update/{name}", weight.detach() - self._before[name])
            self._save()
        self._before.clear()
        self._leave()
        self._uncharged = self._uncharged or self.seconds

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Save the validation loss and all metrics of an epoch, from 1."""
        self._enter()
        self._hook.at(self._number(epoch, self.steps.epoch), ModeKeys.EVAL, epoch - 1)
        self._hook.save(_LOSS, torch.tensor(metrics["validation:loss"]))
        for name, value in metrics.items():
            self._hook.save(f"scalar/{name}", torch.tensor(value))
        self._save()
        before = self.seconds
        self._leave()
        self._uncharged += self.seconds - before

    @torch.no_grad()
    def diverged(self, epoch: int, loss: float) -> None:
        """Let the rules see an epoch that ended in NaN, whose last steps may not have been saved."""
        self._hook.at(self._number(epoch, self.steps.epoch), ModeKeys.TRAIN, epoch * self.steps.epoch)
        self._hook.want_all()
        self._hook.save(_LOSS, torch.tensor(loss))
        for name, weight in self.weights.items():
            self._hook.save(name, weight.detach())
        self._save()

    def close(self) -> None:
        """Say that the trial has ended."""
        if self._writes and is_trial(self.folder):
            self._writing((self.folder / END_OF_JOB_FILENAME).touch)
            self._writing(self._hook.describe)

    def _number(self, epoch: int, step: int) -> int:
        return (epoch - 1) * (self.steps.epoch + 1) + step

    def _save(self) -> None:
        """Write the step, and ask the rules about it whether or not there was room."""
        saved = self._hook.saved()
        if not saved.values:
            return
        first, self._counted = not self._counted, True
        self.saves += 1
        if self._writes:
            if first:
                self._writing(self._hook.describe)
            self._writing(write_step, self.folder, saved)
        self._ask(saved)

    def _writing(self, write: Callable[..., None], *arguments: Any, **named: Any) -> None:
        """Write something; where that fails, say so once and write no more."""
        if not self._writes:
            return
        try:
            write(*arguments, **named)
        except OSError as error:
            self._writes = False
            step = self._step
            says = (
                f"tensors are missing from step {step} on: {self.folder.name}/ cannot be written "
                f"({error.strerror})"
            )
            advice = (
                "Give the job a larger volume (VolumeSizeInGB), save less often (debug-interval), or set "
                "debug=false"
            )
            self._tell(Finding("TensorsMissing", step, "", 0.0, 0.0, says, advice))

    def _ask(self, saved: SavedStep) -> None:
        """Show a step to the rules."""
        for finding in self.watchers.look(saved):
            self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        self.findings.append(finding)
        self.on_finding(finding)

    def _enter(self) -> None:
        self._entered = time.perf_counter()

    def _leave(self) -> None:
        self.seconds += time.perf_counter() - self._entered


def _layers(model: nn.Module, activations: str) -> dict[str, nn.Module]:
    """The head, and the layers that the regex is found in; raises `UsageError` where it is none."""
    try:
        pattern = re.compile(activations)
    except re.error as error:
        raise UsageError(f"debug-activations is no regular expression: {error}") from None
    chosen = {
        name: layer for name, layer in model.named_modules() if activations and name and pattern.search(name)
    }
    if activations and not chosen:
        names = ", ".join([name for name, _ in model.named_modules() if name][:20])
        raise UsageError(
            f"debug-activations {activations!r} is found in no layer's name; they are {names}, …"
        )
    return {"head": model.get_submodule("head"), **chosen}
