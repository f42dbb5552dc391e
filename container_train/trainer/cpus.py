"""How many CPUs this process may really use: what threads, streams and loader processes are sized by.

Called by the job. The host's CPU count is the wrong answer in a
container: the limit is in the cgroup (version 1 or 2) and in the process's affinity.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path

PARALLEL_JOBS = "TRAINER_PARALLEL_JOBS"


def cpu_limit(
    *, cgroup_root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int:
    """The number of CPUs, at least 1: the smaller of affinity and cgroup quota, rounded up."""
    quotas = [_quota_v2(folder) for folder in _lineage(cgroup_root, membership, controller="")]
    for mount in ("cpu", "cpu,cpuacct"):
        root = cgroup_root / mount
        quotas += [_quota_v1(folder) for folder in _lineage(root, membership, controller="cpu")]
    allowed = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min([allowed, *(quota for quota in quotas if quota is not None)])))


def cpu_share(environment: Mapping[str, str]) -> int:
    """This job's part of them, at least 1: TRAINER_PARALLEL_JOBS says how many jobs run side by side."""
    return max(1, cpu_limit() // int(environment.get(PARALLEL_JOBS, "1")))


def process_share(environment: Mapping[str, str]) -> int:
    """This process's part of the job's, at least 1: torchrun says how many it has started on this machine."""
    return max(1, cpu_share(environment) // int(environment.get("LOCAL_WORLD_SIZE", "1")))


def _lineage(root: Path, membership: Path, *, controller: str) -> list[Path]:
    """The process's group below `root` and its parents: a quota on any of them binds."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # no cgroups on this kernel
        return [root]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            group = root / path.lstrip("/")
            return [group, *(parent for parent in group.parents if parent.is_relative_to(root))]
    return [root]


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max` holds `<quota> <period>` in microseconds, or `max <period>`."""
    words = _read(folder / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # not this version of cgroups, or no limit at this level
        return ""
