"""Each loss of time has one verdict, which says what to change; a training that loses none has none."""

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer import bottlenecks
from trainer.findings import Finding
from trainer.profiler import Profiler

SITUATION: dict[str, Any] = {
    "workers": 2,
    "cpus": 6,
    "batch_size": 64,
    "checkpoint_steps": 200,
    "frozen_cached": False,
    "device_memory_gb": 16.0,
}


@pytest.fixture
def profile() -> dict[str, Any]:
    """Of a GPU that has been kept busy for three minutes."""
    return {
        "phases": {
            "data wait": 12.0,
            "copy": 2.0,
            "forward": 50.0,
            "backward": 90.0,
            "optimiser": 6.0,
            "validation": 15.0,
            "checkpoint": 4.0,
            "debugger": 1.0,
            "other": 2.0,
        },
        "steps": {
            "count": 300,
            "total": 160.0,
            "median": 0.5,
            "p95": 0.6,
            "slowest": [{"step": 17, "seconds": 8.5}, {"step": 90, "seconds": 2.0}],
            "outliers": {"count": 2, "excess": 9.5},
            "first_waits": 5.0,
        },
        "epochs": [{"begun": 0.0, "ended": 90.0}, {"begun": 91.0, "ended": 190.0}],
        "samples": samples([90.0] * 180, [11.0] * 180),
    }


def samples(gpu: list[float], memory: list[float]) -> dict[str, list[float]]:
    """One a second."""
    return {"seconds": [second + 1.0 for second in range(len(gpu))], "gpu": gpu, "gpu_memory_gb": memory}


def find(profile: dict[str, Any], **changed: Any) -> list[Finding]:
    return bottlenecks.find(profile, **(SITUATION | changed))


def rules(findings: list[Finding]) -> list[str]:
    return [finding.rule for finding in findings]


def run(folder: Path, *, slept: float) -> list[Finding]:
    """Two epochs of eight steps whose loader sleeps before it gives a batch."""
    with Profiler(torch.device("cpu"), folder) as profiler:
        for epoch in (1, 2):
            profiler.begin_epoch()
            for step in range(8):
                with profiler.phase("data wait"):
                    time.sleep(slept)
                profiler.begin_step(step)
                with profiler.phase("forward"):
                    time.sleep(0.02)
                profiler.end_step(step)
            profiler.end_epoch("resnet50", epoch)
    return find(profiler.as_dict(), device_memory_gb=None)


def test_a_loader_that_sleeps_is_named_and_nothing_else(tmp_path: Path) -> None:
    (finding,) = run(tmp_path, slept=0.2)

    assert finding.rule == "LoaderBottleneck"
    assert finding.step is None
    assert 0.8 < finding.value < 0.95
    assert finding.says.startswith("data wait is ")
    assert finding.says.endswith(" % of the training time (3 s)")
    assert finding.advice == "Raise workers from 2 to 6"


def test_the_same_loader_awake_is_not(tmp_path: Path) -> None:
    assert run(tmp_path, slept=0) == []


def test_a_busy_machine_has_no_findings(profile: dict[str, Any]) -> None:
    assert find(profile) == []


def test_the_wait_for_loaders_to_start_is_no_bottleneck(profile: dict[str, Any]) -> None:
    profile["phases"]["data wait"] = 40.0
    assert rules(find(profile)) == ["LoaderBottleneck"]

    profile["steps"]["first_waits"] = 35.0
    assert find(profile) == []


def test_less_than_a_second_is_no_bottleneck(profile: dict[str, Any]) -> None:
    profile["phases"] = {name: seconds / 200 for name, seconds in profile["phases"].items()}
    profile["phases"]["data wait"] = 0.9
    profile["steps"]["first_waits"] = 0.0

    assert find(profile) == []


@pytest.mark.parametrize(
    ("situation", "advice"),
    [
        ({"workers": 2}, "Raise workers from 2 to 6"),
        ({"workers": 6}, "take an instance with more"),
        ({"workers": 6}, "feature-cache=true"),
    ],
)
def test_the_advice_against_waiting_follows_from_what_loads(
    profile: dict[str, Any], situation: dict[str, Any], advice: str
) -> None:
    profile["phases"]["data wait"] = 80.0

    (finding,) = find(profile, **situation)

    assert finding.says == "data wait is 33 % of the training time (75 s)"
    assert advice in finding.advice


@pytest.mark.parametrize(("waited", "found"), [(40.0, []), (170.0, ["LoaderBottleneck"])])
def test_cached_features_may_take_a_share_of_the_time(
    profile: dict[str, Any], waited: float, found: list[str]
) -> None:
    profile["phases"]["data wait"] = waited

    findings = find(profile, frozen_cached=True)

    assert rules(findings) == found
    assert all("Keep the feature cache on a faster disk" in each.advice for each in findings)


def test_a_short_training_on_cached_features_may_spend_its_time_as_it_likes(profile: dict[str, Any]) -> None:
    """What 60 epochs of a head take on a slow disk: 14 of 38 seconds for 90 checkpoints."""
    profile["phases"] |= {
        "data wait": 4.4, "copy": 0.2, "forward": 6.0, "backward": 6.5, "optimiser": 4.0, "validation": 1.6,
        "checkpoint": 14.0, "debugger": 0.6, "other": 1.0,
    }  # fmt: skip
    profile["steps"] |= {"count": 6300, "total": 22.0, "first_waits": 0.3}

    assert find(profile, frozen_cached=True) == []


def test_an_idle_gpu_asks_for_a_larger_batch_unless_it_waits_for_data(profile: dict[str, Any]) -> None:
    profile["samples"] = samples([30.0] * 20, [11.0] * 20)
    (finding,) = find(profile)
    assert finding.rule == "LowGPUUtilisation"
    assert finding.says == "the GPU computed in 30 % of the time"
    assert "batch-size from 64 to 128" in finding.advice
    assert "take an instance without" in find(profile, frozen_cached=True)[0].advice

    profile["phases"]["data wait"] = 80.0
    assert rules(find(profile)) == ["LoaderBottleneck"]


def test_memory_for_twice_the_batch_is_named(profile: dict[str, Any]) -> None:
    profile["samples"] = samples([90.0] * 20, [5.0] * 19 + [6.0])

    (finding,) = find(profile)

    assert finding.rule == "MemoryHeadroom"
    assert finding.value == pytest.approx(6 / 16)
    assert finding.says == "at most 6.0 of the GPU's 16.0 GB were in use: twice the batch fits"
    assert "batch-size from 64 to 128" in finding.advice
    assert find(profile, frozen_cached=True) == []
    assert find(profile, device_memory_gb=None) == []


def test_few_samples_say_nothing_about_a_gpu(profile: dict[str, Any]) -> None:
    profile["samples"] = samples([1.0] * 19, [1.0] * 19)

    assert find(profile) == []


def test_what_the_gpu_does_outside_epochs_says_nothing_about_training(profile: dict[str, Any]) -> None:
    profile["epochs"] = [{"begun": 160.0, "ended": 190.0}]
    profile["samples"]["gpu"] = [0.0] * 159 + [90.0] * 21
    assert find(profile) == []

    profile["samples"]["gpu"] = [90.0] * 159 + [0.0] * 21
    assert rules(find(profile)) == ["LowGPUUtilisation"]


def test_time_lost_in_checkpoints_is_named_when_it_is_long(profile: dict[str, Any]) -> None:
    profile["phases"]["checkpoint"] = 80.0
    (finding,) = find(profile, checkpoint_steps=20)
    assert finding.rule == "CheckpointTime"
    assert finding.says == "checkpoints took 31 % of the time (80 s)"
    assert finding.advice.startswith("Raise checkpoint-steps from 20 to 150, the steps of an epoch, or keep ")
    (finding,) = find(profile, checkpoint_steps=200)  # those that are left come after the epochs
    assert finding.advice == "Keep the checkpoints on a faster disk"

    short = copy.deepcopy(profile)
    short["phases"] = {name: seconds / 10 for name, seconds in profile["phases"].items()}
    short["steps"]["first_waits"] = 0.5
    assert find(short) == []


def test_slow_steps_are_named_when_they_cost_much(profile: dict[str, Any]) -> None:
    profile["steps"]["outliers"]["excess"] = 70.0

    (finding,) = find(profile)

    assert (finding.rule, finding.step) == ("StepOutliers", 17)
    assert finding.says == (
        "2 of 300 steps took more than 3 times the median of 0.5 s, together 70 s too long; "
        "the slowest: 17 (8.5 s), 90 (2.0 s)"
    )
    assert "other jobs" in finding.advice


def test_steps_that_wait_for_data_are_the_loaders_fault(profile: dict[str, Any]) -> None:
    profile["phases"]["data wait"] = 80.0
    profile["steps"]["outliers"]["excess"] = 60.0

    assert rules(find(profile)) == ["LoaderBottleneck"]
