"""Trainings of a head on made-up features, with the debugger on, for tests of what it saves and finds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.backbones import new_head
from trainer.config import Hyperparameters
from trainer.debugger import Debugger, Steps
from trainer.distributed import ALONE
from trainer.engine import fit
from trainer.findings import Finding
from trainer.hook import DebugSettings
from trainer.loading import Batch, ImageBatches, Request
from trainer.machine import Machine
from trainer.network import HeadOnly
from trainer.profiler import Profiler
from trainer.termination import Stop
from trainer.watch import Observer

CLASSES, WIDTH = 20, 256


@dataclass
class Rows:
    """A split in memory; `on_batch` is told the number of each batch, and what it returns is used instead."""

    inputs: Tensor
    targets: Tensor
    on_batch: Callable[[int, Tensor], Tensor] = lambda number, inputs: inputs
    loaded: int = 0

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, requests: Iterable[Request]) -> Iterator[Batch]:
        for request in requests:
            self.loaded += 1
            samples = [sample for sample, _ in request]
            yield self.on_batch(self.loaded, self.inputs[samples]), self.targets[samples]

    def prepare(self, inputs: Tensor, device: torch.device) -> Tensor:
        return inputs.to(device)


def rows(count: int, *, seed: int = 0, noise: float = 1.0, shares: Sequence[float] | None = None) -> Rows:
    """Features as a network with a ReLU gives them, around one centre a class."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 0.3, (CLASSES, WIDTH))
    targets = random.choice(CLASSES, count, p=shares)
    inputs = np.maximum(0, centres[targets] + random.normal(0, noise / 2, (count, WIDTH)))
    return Rows(torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets))


@dataclass
class Training:
    """A training that is watched: what it is made from, and after `run` what was seen."""

    folder: Path
    training: Rows | ImageBatches = field(default_factory=lambda: rows(2000))
    validation: Rows | ImageBatches = field(default_factory=lambda: rows(500, seed=1))
    model: nn.Module = field(default_factory=lambda: HeadOnly(new_head(WIDTH, CLASSES)))
    debug: DebugSettings | None = field(default_factory=DebugSettings)  # None: nobody looks on
    stop: Stop = field(default_factory=Stop)
    stopping: bool = False
    precision: torch.dtype = torch.float32
    profiled: bool = False
    told: list[Finding] = field(default_factory=list)

    @property
    def tensors(self) -> Path:
        return self.folder / "tensors"

    @property
    def rules(self) -> list[str]:
        """The names of the rules that found something."""
        return [finding.rule for finding in self.told]

    def run(self, **settings: Any) -> Observer:
        """Train; raises what training raises."""
        torch.set_num_threads(1)
        hyperparameters = Hyperparameters(
            **{"epochs": 3, "batch_size": 64, "learning_rate": 0.01, **settings}
        )
        split = self.training
        targets = split.targets if isinstance(split, Rows) else torch.tensor(split.folder.targets)
        counts = torch.bincount(targets).tolist()

        def start_debugger(network: nn.Module, steps: int, tell: Callable[[Finding], None]) -> Debugger:
            assert self.debug is not None
            return Debugger(
                self.tensors,
                network,
                self.debug,
                class_counts=counts,
                steps=Steps(steps, hyperparameters.epochs),
                on_finding=tell,
            )

        self.profiler = Profiler(torch.device("cpu"), self.folder) if self.profiled else None
        observer = Observer(
            "member",
            self.profiler,
            start_debugger if self.debug else None,
            tell=self.told.append,
            on_epoch=lambda: None,
            stop=self.stop,
            stopping=self.stopping,
        )
        fit(
            self.model,  # type: ignore[arg-type]
            self.training,
            self.validation,
            hyperparameters,
            Machine(torch.device("cpu"), self.precision, ALONE, self.stop),
            checkpoints=self.folder / "checkpoints",
            report=lambda values, epoch: None,
            watch=observer,
        )
        return observer
