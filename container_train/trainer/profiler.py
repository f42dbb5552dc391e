"""Where the time of a training goes: by phase and by step, beside how busy the machine was, and as a trace.

Called by `trainer.engine` around what it does, and by `trainer.observation`, which writes `profile.json` and
asks `trainer.bottlenecks` for a verdict. All times are of this process, on the thread that trains.

On a processor a phase's time is what passes in it, and "other" is what is left of the epoch. A GPU works
beside the process that gives it work: copy, forward, backward and optimiser are timed by events in the GPU's
own queue, which nobody waits for before the end of the epoch; the other phases are the process's own time.
The two overlap: waiting for data while the GPU still computes costs nothing. So what all phases add up to
beyond the epoch's time is taken from the process's, the wait for data first, and what is left of them is time
in which the GPU had nothing to do. Phases and "other" always add up to the epoch, and none is negative.
"""

import json
import os
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from trainer.utilisation import Sampler

FILE, TRACE_FILE = "profile.json", "trace.json"
PHASES = ("data wait", "copy", "forward", "backward", "optimiser", "validation", "checkpoint", "debugger")
OTHER = "other"  # the rest of an epoch's time
OUTLIER = 3  # a step that takes so many times the median is an outlier

_ON_DEVICE = ("copy", "forward", "backward", "optimiser")
_ON_HOST = tuple(name for name in PHASES if name not in _ON_DEVICE)  # in the order in which they give way
_SLOWEST = 10
_OPERATORS = 20


class Profiler:
    """Times one job; inside `with` a thread samples the machine.

    `folder` receives `profile.json` and `trace.json`; `traced` are the optimiser steps, from 0, of which
    `torch.profiler` makes a trace, the first time that they are done.
    """

    def __init__(self, device: torch.device, folder: Path, *, traced: range | None = None) -> None:
        self._device, self._folder = device, folder
        self._timeline = _Timeline() if device.type == "cuda" else None
        self._phases = {name: self._new_phase(name) for name in PHASES}
        self._wait = self._phases["data wait"]
        self._apart = self._phases["checkpoint"], self._phases["debugger"]  # no part of a step's seconds
        self._epochs: list[dict[str, Any]] = []
        self._epoch_begun: float | None = None
        self._epoch_entered = 0.0  # by the samples' clock
        self._steps = _Steps()
        self._trace = _Trace(traced, device) if traced else None
        self._sampler = Sampler(device)

    def _new_phase(self, name: str) -> "_HostPhase | _DevicePhase":
        return _DevicePhase(self._timeline) if self._timeline and name in _ON_DEVICE else _HostPhase()

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._sampler.stop()
        if self._trace and self._trace.running:
            self._trace.stop()

    # ── while it trains ───────────────────────────────────────────────────────────────────────────

    def phase(self, name: str) -> AbstractContextManager[None]:
        """What passes inside counts as phase `name`; never within another one."""
        return self._phases[name]

    def begin_epoch(self) -> None:
        """The epoch's time begins, and its phases at nothing."""
        for phase in self._phases.values():
            phase.seconds = 0.0
        self._epoch_begun, self._epoch_entered = time.perf_counter(), self._sampler.seconds
        self._steps.begin_epoch(self._epoch_begun)

    def end_epoch(self, member: str, epoch: int) -> None:
        """The epoch is over, its validation and checkpoint included; waits for the GPU."""
        if self._timeline:
            torch.cuda.synchronize(self._device)
            self._timeline.settle()
        times = {"begun": self._epoch_entered, "ended": self._sampler.seconds}
        self._epochs.append({"member": member, "epoch": epoch, "phases": self._divided(), **times})
        self._epoch_begun = None

    def begin_step(self, step: int) -> None:
        """Optimiser step `step` begins; its data are there."""
        self._steps.begin(self._wait.seconds)
        if self._trace and self._trace.begins_with(step):
            self._untimed(self._trace.start)

    def end_step(self, step: int) -> None:
        """It is over; on a GPU perhaps only in its queue."""
        traced = self._trace is not None and self._trace.running
        checkpoint, debugger = self._apart
        self._steps.end(step, apart=checkpoint.seconds + debugger.seconds, counted=not traced)
        if self._trace and traced and self._trace.ends_with(step):
            self._untimed(self._trace.stop)
        if self._timeline:
            self._timeline.settle()

    def _untimed(self, action: Callable[[], None]) -> None:
        """Do what takes seconds and is no part of the training."""
        begun = time.perf_counter()
        action()
        spent = time.perf_counter() - begun
        self._steps.postpone(spent)
        if self._epoch_begun is not None:
            self._epoch_begun += spent

    def _divided(self) -> dict[str, float]:
        """The running epoch's time until now, by phase."""
        if self._epoch_begun is None:
            return dict.fromkeys((*PHASES, OTHER), 0.0)
        elapsed = time.perf_counter() - self._epoch_begun
        return divided({name: phase.seconds for name, phase in self._phases.items()}, elapsed)

    # ── what comes of it ──────────────────────────────────────────────────────────────────────────

    def as_dict(self) -> dict[str, Any]:
        """The content of `profile.json`; phases include those of an unfinished epoch.

        `begun` and `ended` of an epoch are seconds by the clock of the samples.
        `steps`: seconds of a step with the wait for its data, without checkpoint and debugger; those that are
        traced are only counted. `slowest` and `outliers` leave out the first step of each epoch, which waits
        for the loaders to start; `first_waits` are the seconds of those waits.
        """
        parts = [epoch["phases"] for epoch in self._epochs] + [self._divided()]
        trace = self._trace.as_dict() if self._trace else {"trace": None}
        return {
            "phases": {name: round(sum(part[name] for part in parts), 6) for name in (*PHASES, OTHER)},
            "epochs": self._epochs,
            "steps": self._steps.as_dict(),
            "samples": self._sampler.as_dict(),
            **trace,
        }

    def write(self) -> None:
        """Write `profile.json`, and `trace.json` where a trace was made; without room for it, only the first.

        Raises `OSError`.
        """
        if self._trace:
            self._trace.export(self._folder)
        text = json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)
        (self._folder / FILE).write_text(text + "\n", encoding="utf-8")


def divided(seconds: dict[str, float], elapsed: float) -> dict[str, float]:
    """Phases and "other" that add up to `elapsed`: see the head of this module for what overlaps."""
    result = dict(seconds)
    hidden = sum(seconds.values()) - elapsed
    for name in _ON_HOST:
        given = min(max(hidden, 0.0), result[name])
        result[name] -= given
        hidden -= given
    result[OTHER] = max(0.0, -hidden)
    return {name: round(value, 6) for name, value in result.items()}


class _HostPhase:
    """A phase timed by this process's clock: under a microsecond each time."""

    __slots__ = ("_begun", "seconds")

    def __init__(self) -> None:
        self.seconds = self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        self.seconds += time.perf_counter() - self._begun


class _DevicePhase:
    """A phase timed in the GPU's queue; its seconds are those that are known by now."""

    __slots__ = ("_begun", "_timeline", "seconds")

    def __init__(self, timeline: "_Timeline") -> None:
        self.seconds, self._timeline = 0.0, timeline

    def __enter__(self) -> None:
        self._begun = self._timeline.mark()

    def __exit__(self, *raised: object) -> None:
        self._timeline.pending.append((self, self._begun, self._timeline.mark()))


class _Timeline:
    """Events in the queue of the current stream, used again when the GPU has passed them.

    `pending` are the phases that it may not have passed yet; the queue's length bounds them.
    """

    def __init__(self) -> None:
        self.pending: deque[tuple[_DevicePhase, torch.cuda.Event, torch.cuda.Event]] = deque()
        self._spare: list[torch.cuda.Event] = []

    def mark(self) -> torch.cuda.Event:
        event = self._spare.pop() if self._spare else torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def settle(self) -> None:
        """Add up the phases that the GPU has passed, without waiting for any."""
        while self.pending and self.pending[0][2].query():
            phase, begun, ended = self.pending.popleft()
            phase.seconds += begun.elapsed_time(ended) / 1000
            self._spare += (begun, ended)


class _Steps:
    """How long each step took: from the end of the one before, or the epoch's beginning, to its own."""

    def __init__(self) -> None:
        self._numbers, self._seconds = array("q"), array("d")  # 16 bytes a step
        self._firsts = array("q")  # places of those that begin an epoch
        self._count, self._first_waits = 0, 0.0
        self._fresh = False  # no step of the epoch has begun
        self._last, self._last_apart = 0.0, 0.0  # when the last one ended, and what was apart by then

    def begin_epoch(self, now: float) -> None:
        self._fresh, self._last, self._last_apart = True, now, 0.0

    def begin(self, waited: float) -> None:
        if self._fresh:
            self._fresh = False
            self._first_waits += waited
            self._firsts.append(len(self._seconds))

    def end(self, step: int, *, apart: float, counted: bool) -> None:
        now = time.perf_counter()
        self._count += 1
        if counted:
            self._numbers.append(step)
            self._seconds.append(now - self._last - (apart - self._last_apart))
        self._last, self._last_apart = now, apart

    def postpone(self, seconds: float) -> None:
        self._last += seconds

    def as_dict(self) -> dict[str, Any]:
        seconds = np.array(self._seconds)
        firsts = np.array(self._firsts, dtype=int)
        firsts = firsts[firsts < len(seconds)]
        later, numbers = np.delete(seconds, firsts), np.delete(np.array(self._numbers), firsts)
        median, p95 = np.quantile(seconds, (0.5, 0.95)) if len(seconds) else (0.0, 0.0)
        slow = later[later > OUTLIER * median]
        slowest = np.argsort(-later, kind="stable")[:_SLOWEST]
        return {
            "count": self._count,
            "total": round(float(seconds.sum()), 6),
            "median": round(float(median), 6),
            "p95": round(float(p95), 6),
            "slowest": [
                {"step": int(numbers[place]), "seconds": round(float(later[place]), 6)} for place in slowest
            ],
            "outliers": {"count": len(slow), "excess": round(float((slow - median).sum()), 6)},
            "first_waits": round(self._first_waits, 6),
        }


class _Trace:
    """A `torch.profiler` trace from the first to the last of `steps`, made once.

    What fails in it is said on stderr, and there is no trace.
    """

    def __init__(self, steps: range, device: torch.device) -> None:
        kinds = [ProfilerActivity.CPU, ProfilerActivity.CUDA][: 1 + (device.type == "cuda")]
        self._profile: profile | None = profile(activities=kinds)
        self._steps, self._started, self.running = steps, False, False
        self._operators: list[dict[str, Any]] = []
        self._file: str | None = None

    def begins_with(self, step: int) -> bool:
        return not self._started and step in self._steps

    def ends_with(self, step: int) -> bool:
        return step >= self._steps[-1]

    def start(self) -> None:
        self._started = True
        self.running = self._try(lambda made: made.start())

    def stop(self) -> None:
        self.running = False
        self._try(self._collect)

    def export(self, folder: Path) -> None:
        """Write `trace.json`; it can be done only once."""
        if self.running:  # training has ended before them, or failed
            self.stop()
        if not self._started or self._profile is None:
            return
        file = folder / TRACE_FILE
        file.unlink(missing_ok=True)
        self._try(lambda made: made.export_chrome_trace(str(file)))
        if file.is_file():
            self._file = file.name
        else:  # the exporter itself only logs it, and leaves what it could write under another name
            for part in folder.glob(f"{TRACE_FILE}*"):
                os.truncate(part, 0)  # it may still be open
                part.unlink()
            _warn(f"{file} could not be written: is the disk full?")
        self._profile = None

    def as_dict(self) -> dict[str, Any]:
        return {"trace": self._file} | ({"operators": self._operators} if self._operators else {})

    def _collect(self, made: profile) -> None:
        made.stop()
        entries = [
            {
                "name": entry.key,
                "cpu_ms": round(entry.self_cpu_time_total / 1000, 3),
                "gpu_ms": round(entry.self_device_time_total / 1000, 3),
                "calls": entry.count,
            }
            for entry in made.key_averages()
            if entry.device_type.name == "CPU"  # a kernel's time is with the operator that called it
        ]
        entries.sort(key=lambda entry: (-entry["gpu_ms"], -entry["cpu_ms"]))
        self._operators = entries[:_OPERATORS]

    def _try(self, action: Callable[[profile], None]) -> bool:
        if self._profile is None:
            return False
        try:
            action(self._profile)
        except (RuntimeError, OSError) as error:
            _warn(str(error))
            self._profile = None
        return self._profile is not None


def _warn(what: str) -> None:
    print(f"warning: there is no trace of the steps: {what}", file=sys.stderr, flush=True)
