"""What a job tells of itself: how its training went, what was found, where its time went, the report.

`train_model.py` opens it in the first process; `trainer.members` asks it who looks on at a member's training.
Everything is written to the output folder at the end of the job, and when it fails; run.json at once, so that
a job that was killed has left something as well.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from tqdm import tqdm

from trainer.config import Hyperparameters
from trainer.cpus import process_share
from trainer.failures import TrainerError, TrainingError
from trainer.findings import Finding, write_findings
from trainer.locations import Locations
from trainer.machine import Machine
from trainer.moments import Moments
from trainer.termination import Terminated
from trainer.training_run import machine_of, training_run, versions
from trainer.watch import Observer, Watch

if TYPE_CHECKING:
    from trainer.profiler import Profiler


class FindingError(TrainingError):
    """A rule has found something, and on-finding is `stop`."""


@dataclass
class Observation:
    """Looks on at a job; `pictures` is how many each split has, once that is known."""

    settings: Hyperparameters
    locations: Locations
    machine: Machine
    profiler: "Profiler | None"
    tensors: Path | None  # where trials go
    pictures: dict[str, int] = field(default_factory=dict)
    classes: int = 0
    observers: dict[str, Observer] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    @contextmanager
    def member(
        self, name: str, targets: Sequence[int], *, classes: int, extracted: Sequence[Moments]
    ) -> Iterator[Watch]:
        """Who looks on at a member's training on pictures with these targets.

        `extracted` are the moments of what cached features were computed from. Raises `FindingError` when
        leaving.
        """
        self.classes = classes
        counts = torch.bincount(torch.tensor(targets), minlength=classes).tolist()
        folder = self.tensors or Path()
        if len(self.settings.backbones) > 1:
            folder /= name.replace(":", "-")

        def start_debugger(network: nn.Module, epoch_steps: int, tell: Any) -> Any:
            from trainer.debugger import Debugger, Steps  # noqa: PLC0415 - a second, and may be off
            from trainer.hook import DebugSettings  # noqa: PLC0415

            settings = DebugSettings(
                interval=self.settings.debug_interval,
                whole=self.settings.debug_whole,
                activations=self.settings.debug_activations,
                configuration=self.locations.debug_configuration,
            )
            steps = Steps(epoch_steps, self.settings.epochs)
            return Debugger(
                folder,
                network,
                settings,
                class_counts=counts,
                extracted=extracted,
                steps=steps,
                on_finding=tell,
            )

        observer = Observer(
            name,
            self.profiler,
            start_debugger if self.settings.debug else None,
            tell=_say,
            on_epoch=self._write_history,
            stop=self.machine.stop,
            stopping=self.settings.on_finding == "stop",
        )
        self.observers[name] = observer
        try:
            yield observer
        except Terminated:
            _raise_stop(observer)
            raise
        _raise_stop(observer)

    def _write_history(self) -> None:
        """After each epoch: a job may be killed."""
        epochs = {name: each.epochs for name, each in self.observers.items()}
        try:
            _write(self.locations.output_data_dir / "history.json", epochs)
        except OSError as error:
            print(f"warning: history.json cannot be written: {error.strerror}", file=sys.stderr, flush=True)

    @property
    def findings(self) -> list[Finding]:
        """Of the rules, then of the profile."""
        found = [finding for observer in self.observers.values() for finding in observer.findings]
        if self.profiler is None:
            return found
        from trainer import bottlenecks  # noqa: PLC0415 - not needed without a profile

        device, cuda = self.machine.device, self.machine.device.type == "cuda"
        memory = torch.cuda.get_device_properties(device).total_memory / 1e9 if cuda else None
        cpus = process_share(os.environ)
        return found + bottlenecks.find(
            self.profiler.as_dict(),
            workers=self.settings.workers if self.settings.workers >= 0 else cpus,
            cpus=cpus,
            batch_size=self.settings.batch_size,
            checkpoint_steps=self.settings.checkpoint_steps,
            frozen_cached=self.settings.cached,
            device_memory_gb=memory,
        )

    def write(self, status: str, failure: str | None = None) -> None:
        """Write all that is known, and the report when the job has ended."""
        folder = self.locations.output_data_dir
        run = {
            **training_run(self.settings),
            "status": status,
            "failure": failure,
            "seconds": round(time.monotonic() - self.begun, 1),
            "machine": machine_of(self.machine),
            "versions": versions(),
            "pictures": self.pictures,
            "classes": self.classes,
        }
        _write(folder / "run.json", run)
        if status == "running":
            _remove_results(folder)
            return
        self._write_history()
        if self.profiler is not None:
            self.profiler.write()
        findings = self.findings
        if self.settings.debug or self.settings.profile:
            write_findings(folder, findings)
        for finding in findings:
            if finding not in [told for each in self.observers.values() for told in each.findings]:
                _say(finding)
        from trainer.report import write_report  # noqa: PLC0415 - a second

        page = write_report(folder, self.tensors if self.tensors and self.tensors.is_dir() else None)
        print(f"report: {page}", file=sys.stderr, flush=True)


@contextmanager
def observed(
    settings: Hyperparameters, locations: Locations, machine: Machine
) -> Iterator[Observation | None]:
    """Look on at the job inside; nobody does in other processes than the first.

    A stop by SIGTERM leaves no report: the job goes on elsewhere.
    """
    if not machine.group.is_main:
        yield None
        return
    locations.output_data_dir.mkdir(parents=True, exist_ok=True)
    tensors = locations.tensors if settings.debug else None
    with ExitStack() as stack:
        profiler = None
        if settings.profile:
            from trainer.profiler import Profiler  # noqa: PLC0415 - may be off

            profiler = stack.enter_context(
                Profiler(machine.device, locations.output_data_dir, traced=settings.traced_steps)
            )
        observation = Observation(settings, locations, machine, profiler, tensors)
        _attempt(observation, "running")
        try:
            yield observation
        except Exception as error:
            status = "stopped by a finding" if isinstance(error, FindingError) else "failed"
            text = str(error) if isinstance(error, TrainerError) else f"{type(error).__name__}: {error}"
            _attempt(observation, status, text)
            raise
        _attempt(observation, "completed")


def _attempt(observation: Observation, status: str, failure: str | None = None) -> None:
    """Write what is known; a job neither fails for want of a report, nor hides why it failed."""
    try:
        observation.write(status, failure)
    except Exception as error:  # noqa: BLE001 - whatever a report fails of
        print(f"warning: there is no report: {error!r}", file=sys.stderr, flush=True)


def _remove_results(folder: Path) -> None:
    """Remove what another job has told of itself: the report would tell it again."""
    shutil.rmtree(folder / "report", ignore_errors=True)
    for name in ("history.json", "findings.json", "profile.json", "trace.json"):
        (folder / name).unlink(missing_ok=True)


def _raise_stop(observer: Observer) -> None:
    if observer.stopped_by is not None:
        line = observer.stopped_by.line().removeprefix("finding: ")
        raise FindingError(f"stopped by a finding, after a checkpoint: {line}") from None


def _say(finding: Finding) -> None:
    with tqdm.external_write_mode():
        print(finding.line(), file=sys.stderr, flush=True)


def _write(file: Path, content: Mapping[str, Any]) -> None:
    partial = file.with_name(file.name + ".tmp")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file)
