"""Times by phase add up to the epoch, slow steps are named, a trace opens, and a full disk costs no more."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainer.profiler import PHASES, Profiler, divided

CPU = torch.device("cpu")
Said = pytest.CaptureFixture[str]


def epoch(
    profiler: Profiler,
    *,
    number: int = 1,
    steps: int = 3,
    slept: dict[str, float],
    between: Callable[[int], None] = lambda step: None,
) -> float:
    """One epoch as the engine does it, whose phases sleep; its seconds by another clock."""
    begun = time.monotonic()
    profiler.begin_epoch()
    for step in range(steps):
        with profiler.phase("data wait"):
            time.sleep(slept.get("data wait", 0))
        profiler.begin_step(step)
        for name in ("copy", "forward", "backward", "forward", "backward", "optimiser"):  # in two pieces
            with profiler.phase(name):
                time.sleep(slept.get(name, 0))
        time.sleep(slept.get("other", 0))
        profiler.end_step(step)
        between(step)
    for name in ("validation", "checkpoint"):
        with profiler.phase(name):
            time.sleep(slept.get(name, 0))
    profiler.end_epoch("resnet50", number)
    return time.monotonic() - begun


def test_phases_and_the_rest_add_up_to_the_time_of_each_epoch(tmp_path: Path) -> None:
    slept = {"data wait": 0.02, "forward": 0.01, "backward": 0.02, "validation": 0.05, "other": 0.03}
    profiler = Profiler(CPU, tmp_path)

    lasted = [epoch(profiler, number=number, slept=slept) for number in (1, 2)]

    profile = profiler.as_dict()
    assert [(each["member"], each["epoch"]) for each in profile["epochs"]] == [
        ("resnet50", 1),
        ("resnet50", 2),
    ]
    for seconds, entry in zip(lasted, profile["epochs"], strict=True):
        assert list(entry["phases"]) == [*PHASES, "other"]
        assert sum(entry["phases"].values()) == pytest.approx(seconds, abs=0.01)
    least = {"data wait": 0.12, "forward": 0.12, "backward": 0.24, "validation": 0.1, "other": 0.18}
    for name, seconds in profile["phases"].items():
        assert least.get(name, 0) <= seconds < least.get(name, 0) + 0.1
        assert seconds == pytest.approx(sum(entry["phases"][name] for entry in profile["epochs"]), abs=1e-5)


def test_epochs_have_their_place_among_the_samples(tmp_path: Path) -> None:
    with Profiler(CPU, tmp_path) as profiler:
        time.sleep(0.3)
        epoch(profiler, slept={"other": 0.3})  # three steps: 0.9 s

    (entry,) = profiler.as_dict()["epochs"]
    first = profiler.as_dict()["samples"]["seconds"][0]  # after one second
    assert 0.3 <= entry["begun"] < first < entry["ended"]


def test_what_happens_outside_epochs_is_no_part_of_them(tmp_path: Path) -> None:
    profiler = Profiler(CPU, tmp_path)
    epoch(profiler, slept={})
    with profiler.phase("validation"):
        time.sleep(0.1)
    epoch(profiler, slept={"other": 0.05})

    assert profiler.as_dict()["phases"]["validation"] < 0.05


def test_an_epoch_that_is_given_up_is_counted_as_far_as_it_went(tmp_path: Path) -> None:
    profiler = Profiler(CPU, tmp_path)
    profiler.begin_epoch()
    with pytest.raises(RuntimeError, match="diverged"), profiler.phase("forward"):
        time.sleep(0.05)
        raise RuntimeError("diverged")

    profile = profiler.as_dict()

    assert profile["phases"]["forward"] >= 0.05
    assert profile["epochs"] == []


def test_time_on_the_gpu_hides_the_wait_for_data_that_it_overlaps() -> None:
    seconds = dict.fromkeys(PHASES, 0.0) | {
        "data wait": 6.0,
        "forward": 3.0,
        "backward": 5.0,
        "checkpoint": 1.0,
    }

    shares = divided(seconds, 10.0)  # 9 s of them were the GPU's and the checkpoint's

    assert shares["data wait"] == 1.0
    assert (shares["forward"], shares["backward"], shares["checkpoint"], shares["other"]) == (
        3.0,
        5.0,
        1.0,
        0.0,
    )
    assert sum(divided(seconds | {"backward": 6.5}, 10.0).values()) == 10.0
    assert divided(seconds, 20.0)["other"] == 5.0


def test_a_step_has_the_wait_before_it_and_neither_checkpoint_nor_debugger(tmp_path: Path) -> None:
    profiler = Profiler(CPU, tmp_path)

    def save(step: int) -> None:
        for name in ("checkpoint", "debugger"):
            with profiler.phase(name):
                time.sleep(0.1 if step == 2 else 0)

    epoch(profiler, steps=5, slept={"data wait": 0.02, "optimiser": 0.01}, between=save)

    steps = profiler.as_dict()["steps"]
    assert steps["count"] == 5
    assert 0.03 <= steps["median"] <= steps["p95"] < 0.1
    assert steps["total"] == pytest.approx(0.15, abs=0.05)
    assert 0.02 <= steps["first_waits"] < 0.06


def test_the_slowest_steps_are_named_but_for_the_first_of_an_epoch(tmp_path: Path) -> None:
    profiler = Profiler(CPU, tmp_path)
    profiler.begin_epoch()
    for step, seconds in enumerate([0.3, *[0.01] * 6, 0.1, *[0.01] * 6]):
        with profiler.phase("data wait"):
            time.sleep(seconds)
        profiler.begin_step(step)
        profiler.end_step(step)
    profiler.end_epoch("resnet50", 1)

    steps = profiler.as_dict()["steps"]

    assert len(steps["slowest"]) == 10
    assert steps["slowest"][0]["step"] == 7
    assert 0.1 <= steps["slowest"][0]["seconds"] < 0.3
    assert steps["outliers"]["count"] == 1
    assert steps["outliers"]["excess"] == pytest.approx(0.09, abs=0.03)


def network_step(profiler: Profiler, step: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    profiler.begin_step(step)
    with profiler.phase("forward"):
        loss = model(torch.ones(2, 3, 8, 8)).sum()
    with profiler.phase("backward"):
        loss.backward()
    profiler.end_step(step)


def traced_run(folder: Path, *, traced: range, steps: int) -> Profiler:
    with Profiler(CPU, folder, traced=traced) as profiler:
        for member in ("resnet50", "efficientnet_lite0"):
            profiler.begin_epoch()
            for step in range(steps):
                network_step(profiler, step)
            profiler.end_epoch(member, 1)
    return profiler


@pytest.mark.parametrize("traced", [range(2, 4), range(2, 100)], ids=["within", "past the end"])
def test_the_trace_of_chosen_steps_can_be_opened_and_names_operators(tmp_path: Path, traced: range) -> None:
    steps = 4
    profiler = traced_run(tmp_path, traced=traced, steps=steps)
    profiler.write()
    profiler.write()  # as a job does that fails after training

    profile = read(tmp_path / "profile.json")
    assert profile["trace"] == "trace.json"
    events = read(tmp_path / profile["trace"])["traceEvents"]
    convolutions = [event for event in events if event.get("name") == "aten::conv2d"]
    assert all({"ph", "ts", "dur", "pid", "tid"} <= set(event) for event in convolutions)
    if traced.stop == 4:
        assert len(convolutions) == 2  # of two steps of eight: the second member's are not traced again
        assert profile["steps"]["count"] == 8
    operators = {entry["name"]: entry for entry in profile["operators"]}
    assert len(operators) == 20
    assert operators["aten::mkldnn_convolution"]["calls"] == len(convolutions)
    assert all(entry["gpu_ms"] == 0 for entry in operators.values())
    times = [entry["cpu_ms"] for entry in profile["operators"]]
    assert times == sorted(times, reverse=True)
    assert times[0] > 0


def test_a_trace_that_a_failure_has_ended_is_written_by_the_failing_job(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="diverged"), Profiler(CPU, tmp_path, traced=range(9)) as profiler:
        profiler.begin_epoch()
        profiler.begin_step(0)
        try:
            with profiler.phase("forward"):
                torch.ones(2).exp()
                raise RuntimeError("diverged")
        except RuntimeError:
            profiler.write()
            raise

    names = {event.get("name") for event in read(tmp_path / "trace.json")["traceEvents"]}
    assert "aten::exp" in names
    assert read(tmp_path / "profile.json")["trace"] == "trace.json"


def test_making_a_trace_takes_no_time_from_the_training(tmp_path: Path) -> None:
    profiler = Profiler(CPU, tmp_path, traced=range(1))
    begun = time.monotonic()
    profiler.begin_epoch()
    profiler.begin_step(0)
    with profiler.phase("forward"):
        number = torch.zeros(1)
        for _ in range(5000):  # whose sums by operator take longer than they
            number = number + 1
    profiler.end_step(0)
    profiler.end_epoch("resnet50", 1)

    assert sum(profiler.as_dict()["phases"].values()) < 0.7 * (time.monotonic() - begun)


def test_a_full_disk_costs_the_trace_and_nothing_else(
    tmp_path: Path, mount_disk: Callable[[Path, str], Path], capsys: Said
) -> None:
    disk = mount_disk(tmp_path / "disk", "64k")
    (disk / "trace.json").write_text("of an earlier job")

    traced_run(disk, traced=range(50), steps=50).write()

    assert read(disk / "profile.json")["trace"] is None
    assert read(disk / "profile.json")["operators"]
    assert [path.name for path in disk.iterdir()] == ["profile.json"]
    assert "there is no trace of the steps" in capsys.readouterr().err


def test_without_a_trace_and_without_a_step_the_profile_is_whole(tmp_path: Path) -> None:
    with Profiler(CPU, tmp_path) as profiler:
        pass
    profiler.write()

    profile = read(tmp_path / "profile.json")
    assert profile["phases"] == dict.fromkeys((*PHASES, "other"), 0.0)
    assert (profile["epochs"], profile["trace"]) == ([], None)
    assert profile["steps"]["slowest"] == []
    assert (profile["steps"]["count"], profile["steps"]["median"]) == (0, 0.0)
    assert "operators" not in profile
    assert profile["samples"]["gpu"] == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_its_own_time_is_counted_and_the_sum_is_still_the_epochs(tmp_path: Path) -> None:
    device = torch.device("cuda")
    matrix = torch.randn(4096, 4096, device=device)
    torch.cuda.synchronize()
    with Profiler(device, tmp_path) as profiler:
        begun = time.monotonic()
        profiler.begin_epoch()
        for step in range(20):
            with profiler.phase("data wait"):
                time.sleep(0.001)
            profiler.begin_step(step)
            with profiler.phase("forward"):
                for _ in range(10):
                    matrix @ matrix
            profiler.end_step(step)
        launched = time.monotonic() - begun
        profiler.end_epoch("resnet50", 1)
        lasted = time.monotonic() - begun
        time.sleep(2.5)

    profile = profiler.as_dict()
    assert launched < 0.5 * lasted  # nobody waited for the GPU
    assert profile["phases"]["forward"] == pytest.approx(lasted, rel=0.2)
    assert sum(profile["phases"].values()) == pytest.approx(lasted, rel=0.02)
    assert min(profile["phases"].values()) >= 0
    assert profile["samples"]["gpu_memory_gb"][0] > 0.06


def read(file: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(file.read_text(), parse_constant=refuse)
