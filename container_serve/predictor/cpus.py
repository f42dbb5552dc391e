"""How many CPUs this process may really use: what workers, streams and threads are sized by.

Called by `predictor.settings` and `predictor.offline`. The host's CPU count is the wrong answer in a
container: the limit is in the cgroup (version 1 or 2) and in the process's affinity.
"""

import math
import os
from pathlib import Path

from predictor.cgroups import MEMBERSHIP, ROOT, lineage, read_value


def cpu_limit(*, cgroup_root: Path = ROOT, membership: Path = MEMBERSHIP) -> int:
    """The number of CPUs, at least 1: the smaller of affinity and cgroup quota, rounded up."""
    quotas = [_quota_v2(folder) for folder in lineage(cgroup_root, membership, controller="")]
    for mount in ("cpu", "cpu,cpuacct"):
        root = cgroup_root / mount
        quotas += [_quota_v1(folder) for folder in lineage(root, membership, controller="cpu")]
    allowed = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min([allowed, *(quota for quota in quotas if quota is not None)])))


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max` holds `<quota> <period>` in microseconds, or `max <period>`."""
    words = read_value(folder / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = read_value(folder / "cpu.cfs_quota_us"), read_value(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None
