"""What looks on while a network is trained: the profiler and the debugger, or nobody.

`trainer.engine` tells it where training is; `trainer.observation` makes one for each member of a job. Looking
on never changes what is trained.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from trainer.findings import Finding, findings_told, write_findings
from trainer.termination import Stop

if TYPE_CHECKING:  # importing either takes a second
    from trainer.debugger import Debugger
    from trainer.profiler import Profiler

_NOTHING = nullcontext()
Epochs = Sequence[Mapping[str, float]]
# From the network, the steps of an epoch and who is told of findings.
StartDebugger = Callable[[nn.Module, int, Callable[[Finding], None]], "Debugger"]


class Watch:
    """Nobody looks on; also the list of what training tells.

    Epochs count from 1, steps from 0 in their epoch.
    """

    def phase(self, name: str) -> AbstractContextManager[None]:
        """What is done inside is a phase of the work, one of `trainer.profiler.PHASES`."""
        return _NOTHING

    def begin(
        self, model: nn.Module, checkpoints: Path, *, epoch_steps: int, epoch: int, step: int, past: Epochs
    ) -> None:
        """Training begins, or goes on at a step; `past` are the metrics of the epochs before."""

    def begin_epoch(self) -> None:
        """An epoch begins, or goes on."""

    def begin_step(self, epoch: int, step: int) -> None:
        """The batch of a step is there."""

    def inputs(self, inputs: Tensor) -> None:
        """The step's inputs, as the network takes them."""

    def begin_forward(self) -> None:
        """The inputs go through the network, perhaps once more in smaller pieces."""

    def gradients(self, counted: Tensor) -> None:
        """All gradients are there, not clipped yet; sum of losses, right answers and pictures of the step."""

    def end_step(self, *, done: bool) -> None:
        """The weights have changed; or they have not, and the step is given up."""

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """The epoch has been evaluated, and its checkpoint written."""

    def diverged(self, epoch: int, loss: float) -> None:
        """The epoch's loss is not finite, and training is about to fail."""

    def end(self) -> None:
        """Training has ended, in any way."""


NOBODY = Watch()


class Observer(Watch):
    """The first process's: looks on at one member's training, and keeps its epochs' metrics and its findings.

    `tell` is called with each finding of the debugger, `on_epoch` when there is another epoch. With
    `stopping`, the first finding asks all processes to stop, and is `stopped_by`.
    """

    def __init__(
        self,
        member: str,
        profiler: "Profiler | None",
        start_debugger: StartDebugger | None,
        *,
        tell: Callable[[Finding], None],
        on_epoch: Callable[[], None],
        stop: Stop,
        stopping: bool,
    ) -> None:
        self.member, self.profiler = member, profiler
        self.debugger: Debugger | None = None
        self.epochs: list[Mapping[str, float]] = []
        self.stopped_by: Finding | None = None
        self._start_debugger, self._tell, self._on_epoch = start_debugger, tell, on_epoch
        self._stop, self._stopping = stop, stopping
        self._epoch_steps = self._step = 0
        self._checkpoints: Path | None = None

    @property
    def findings(self) -> list[Finding]:
        """The debugger's."""
        return self.debugger.findings if self.debugger else []

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time it."""
        return self.profiler.phase(name) if self.profiler else _NOTHING

    def begin(
        self, model: nn.Module, checkpoints: Path, *, epoch_steps: int, epoch: int, step: int, past: Epochs
    ) -> None:
        """Start the debugger, which knows what was found before the checkpoint."""
        self._epoch_steps, self.epochs, self._checkpoints = epoch_steps, list(past), checkpoints
        if self._start_debugger:
            said = findings_told(checkpoints)
            with self.phase("debugger"):
                self.debugger = self._start_debugger(model, epoch_steps, self._found)
                self.debugger.resume(epoch, step, said)

    def _found(self, finding: Finding) -> None:
        self._tell(finding)
        self._keep_findings()
        if self._stopping and self.stopped_by is None:
            self.stopped_by = finding
            self._stop.requested = True

    def _keep_findings(self) -> None:
        """Beside the checkpoints: another container may go on from there, without the tensors."""
        if self._checkpoints is None:
            return
        try:
            self._checkpoints.mkdir(parents=True, exist_ok=True)
            write_findings(self._checkpoints, self.findings)
        except OSError as error:
            print(f"warning: {self._checkpoints} keeps no findings: {error}", file=sys.stderr, flush=True)

    def begin_epoch(self) -> None:
        """Time it."""
        if self.profiler:
            self.profiler.begin_epoch()

    def begin_step(self, epoch: int, step: int) -> None:
        """Time it; see whether it is saved."""
        self._step = (epoch - 1) * self._epoch_steps + step
        if self.profiler:
            self.profiler.begin_step(self._step)
        if self.debugger:
            self.debugger.begin_step(epoch, step)

    def inputs(self, inputs: Tensor) -> None:
        """Save them."""
        if self.debugger and self.debugger.saving:
            with self.phase("debugger"):
                self.debugger.inputs(inputs)

    def begin_forward(self) -> None:
        """Forget what a batch that did not fit has left."""
        if self.debugger and self.debugger.saving:
            self.debugger.begin_forward()

    def gradients(self, counted: Tensor) -> None:
        """Save them."""
        if self.debugger and self.debugger.saving:
            with self.phase("debugger"):
                self.debugger.gradients(counted)

    def end_step(self, *, done: bool) -> None:
        """Save what it changed."""
        if self.debugger and self.debugger.saving:
            with self.phase("debugger"):
                self.debugger.end_step(done=done)
        if self.profiler and done:
            self.profiler.end_step(self._step)

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Save and keep its metrics."""
        self.epochs.append({"epoch": epoch, **metrics})
        self._on_epoch()
        if self.debugger:
            with self.phase("debugger"):
                self.debugger.end_epoch(epoch, metrics)
        if self.profiler:
            self.profiler.end_epoch(self.member, epoch)

    def diverged(self, epoch: int, loss: float) -> None:
        """Let the rules see it."""
        if self.debugger:
            self.debugger.diverged(epoch, loss)

    def end(self) -> None:
        """Close the trial."""
        if self.debugger:
            self.debugger.close()
