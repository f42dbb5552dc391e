"""The number of CPUs comes from the container's limits, not from the host."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from predictor.cpus import cpu_limit

HERE = len(os.sched_getaffinity(0))


def _limit(root: Path, groups: str, files: dict[str, str]) -> int:
    membership = root / "membership"
    membership.write_text(groups)
    for name, content in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return cpu_limit(cgroup_root=root / "cgroup", membership=membership)


@pytest.mark.parametrize(("quota", "cpus"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", HERE)])
def test_the_quota_of_cgroup_2_counts(tmp_path: Path, quota: str, cpus: int) -> None:
    assert _limit(tmp_path, "0::/\n", {"cpu.max": quota}) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("100000", 1), ("-1", HERE)])
def test_the_quota_of_cgroup_1_counts(tmp_path: Path, quota: str, cpus: int) -> None:
    files = {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"}
    assert _limit(tmp_path, "4:memory:/m\n3:cpu,cpuacct:/\n", files) == cpus


def test_a_quota_on_a_parent_group_binds(tmp_path: Path) -> None:
    files = {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}
    assert _limit(tmp_path, "0::/a/b\n", files) == 1


def test_a_fraction_of_a_cpu_counts_as_a_whole_one(tmp_path: Path) -> None:
    assert _limit(tmp_path, "0::/\n", {"cpu.max": "110000 100000"}) == min(2, HERE)


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert cpu_limit(cgroup_root=tmp_path, membership=tmp_path / "none") == HERE


def test_the_affinity_of_the_process_counts() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    program += "from predictor.cpus import cpu_limit; print(cpu_limit())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"
