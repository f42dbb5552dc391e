"""The profiler's verdicts: what a training loses its time to, in words, and what to do about it.

Called by `trainer.observation` with the content of `profile.json`. Each verdict is a function of it that
finds something or not. A loader's share is the same in a longer training, and so is told early; of what only
costs time nobody changes anything for less than a minute.
"""

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from trainer.findings import Finding
from trainer.profiler import OTHER, OUTLIER

_TRAINING = ("data wait", "copy", "forward", "backward", "optimiser", OTHER)

_WORTH_SECONDS = 60.0
_WAIT_SHARE, _WAIT_SECONDS = 0.15, 1.0  # of the training time spent waiting for data
_CACHED_WAIT_SHARE = 0.5  # for features: a fifth is usual where they lie in memory, a head computes so little
_CHECKPOINT_SHARE = 0.10
_EXCESS_SHARE = 0.10  # of the steps' time that slow ones take beyond the median
_SAMPLES = 20  # with fewer nothing is said about a GPU
_GPU_PERCENT = 50.0
_MEMORY_SHARE = 0.40
_NAMED = 3  # slow steps

Profile = Mapping[str, Any]


def find(
    profile: Profile,
    *,
    workers: int,
    cpus: int,
    batch_size: int,
    checkpoint_steps: int,
    frozen_cached: bool,
    device_memory_gb: float | None,
) -> list[Finding]:
    """The findings about a profile, the costliest kind first.

    `workers` loader processes were started, on `cpus`; `frozen_cached` is whether only a head was trained, on
    features from the cache. `device_memory_gb` (10⁹ bytes) is the GPU's, `None` without one.
    """
    waits = list(_loader(profile, workers=workers, cpus=cpus, cached=frozen_cached))
    found = [*waits, *_checkpoints(profile, every=checkpoint_steps)]
    if not waits:  # which explain slow steps and an idle GPU
        found += [*_outliers(profile), *_idle_gpu(profile, batch_size=batch_size, cached=frozen_cached)]
    if device_memory_gb and not frozen_cached:  # a head never fills a GPU
        found += _free_memory(profile, batch_size=batch_size, memory=device_memory_gb)
    return found


def _loader(profile: Profile, *, workers: int, cpus: int, cached: bool) -> Iterator[Finding]:
    """Waiting for data; the first wait of an epoch, in which loaders start, is nobody's fault."""
    phases, first = profile["phases"], profile["steps"]["first_waits"]
    waited = phases["data wait"] - first
    training = sum(phases[name] for name in _TRAINING) - first
    share, seconds = (_CACHED_WAIT_SHARE, _WORTH_SECONDS) if cached else (_WAIT_SHARE, _WAIT_SECONDS)
    if waited < seconds or waited <= share * training:
        return
    if cached:
        advice = "Keep the feature cache on a faster disk, or take a machine with the memory to hold it"
    elif workers < cpus:
        advice = f"Raise workers from {workers} to {cpus}"
    else:
        advice = (
            f"All {cpus} CPUs load pictures already: take an instance with more, or make pictures smaller "
            "on disk; where no layer is unfrozen, feature-cache=true loads each of them once"
        )
    yield Finding(
        rule="LoaderBottleneck",
        step=None,
        tensor="data wait",
        value=waited / training,
        threshold=share,
        says=f"data wait is {_percent(waited / training)} of the training time ({waited:.0f} s)",
        advice=advice,
    )


def _checkpoints(profile: Profile, *, every: int) -> Iterator[Finding]:
    """One is written after each epoch, and one every so many steps, of which only the latter can be fewer."""
    spent, total = profile["phases"]["checkpoint"], sum(profile["phases"].values())
    if spent > _WORTH_SECONDS and spent > _CHECKPOINT_SHARE * total:
        steps = profile["steps"]["count"] // max(1, len(profile["epochs"]))
        fewer = f"Raise checkpoint-steps from {every} to {steps}, the steps of an epoch, or keep"
        yield Finding(
            rule="CheckpointTime",
            step=None,
            tensor="checkpoint",
            value=spent / total,
            threshold=_CHECKPOINT_SHARE,
            says=f"checkpoints took {_percent(spent / total)} of the time ({spent:.0f} s)",
            advice=f"{fewer if every < steps else 'Keep'} the checkpoints on a faster disk",
        )


def _outliers(profile: Profile) -> Iterator[Finding]:
    steps = profile["steps"]
    count, excess = steps["outliers"]["count"], steps["outliers"]["excess"]
    if excess <= _WORTH_SECONDS or excess <= _EXCESS_SHARE * steps["total"]:
        return
    named = [f"{slow['step']} ({slow['seconds']:.1f} s)" for slow in steps["slowest"][: min(_NAMED, count)]]
    yield Finding(
        rule="StepOutliers",
        step=steps["slowest"][0]["step"],
        tensor="step seconds",
        value=excess / steps["total"],
        threshold=_EXCESS_SHARE,
        says=f"{count} of {steps['count']} steps took more than {OUTLIER} times the median of "
        f"{steps['median']:.3g} s, together {excess:.0f} s too long; the slowest: {', '.join(named)}",
        advice="Look for other jobs on the machine, and at the disk that the data come from",
    )


def _idle_gpu(profile: Profile, *, batch_size: int, cached: bool) -> Iterator[Finding]:
    samples = _while_training(profile, "gpu")
    if len(samples) >= _SAMPLES and fmean(samples) < _GPU_PERCENT:
        larger = f"Raise batch-size from {batch_size} to {2 * batch_size}, or take a smaller GPU"
        yield Finding(
            rule="LowGPUUtilisation",
            step=None,
            tensor="gpu",
            value=fmean(samples),
            threshold=_GPU_PERCENT,
            says=f"the GPU computed in {fmean(samples):.0f} % of the time",
            advice="A head on cached features needs none: take an instance without" if cached else larger,
        )


def _free_memory(profile: Profile, *, batch_size: int, memory: float) -> Iterator[Finding]:
    samples = _while_training(profile, "gpu_memory_gb")
    if len(samples) >= _SAMPLES and max(samples) < _MEMORY_SHARE * memory:
        yield Finding(
            rule="MemoryHeadroom",
            step=None,
            tensor="gpu_memory_gb",
            value=max(samples) / memory,
            threshold=_MEMORY_SHARE,
            says=f"at most {max(samples):.1f} of the GPU's {memory:.1f} GB were in use: twice the batch fits",
            advice=f"Raise batch-size from {batch_size} to {2 * batch_size}, and learning-rate with it",
        )


def _while_training(profile: Profile, figure: str) -> list[float]:
    """Samples of epochs: before, between and after them a job does much that needs no GPU."""
    samples, epochs = profile["samples"], profile["epochs"]
    return [
        value
        for when, value in zip(samples["seconds"], samples[figure], strict=False)
        if any(epoch["begun"] < when <= epoch["ended"] for epoch in epochs)
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
