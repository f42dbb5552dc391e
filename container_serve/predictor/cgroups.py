"""Where this process's limits stand: its control groups, version 1 or 2.

Called by `predictor.cpus` and `predictor.memory`.
"""

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def lineage(root: Path, membership: Path, *, controller: str) -> list[Path]:
    """The process's group below `root` and its parents: a limit on any of them binds.

    `controller` is empty for version 2, which has one hierarchy for all.
    """
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


def read_value(path: Path) -> str:
    """A limit's text; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:  # not this version of cgroups, or no limit at this level
        return ""
