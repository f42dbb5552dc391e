"""How much memory is left in the container: what decides whether one more model is loaded.

Called by `predictor.catalogue`. The limit is in the cgroup (version 1 or 2); without one it is the machine's.
"""

from pathlib import Path

from predictor.cgroups import MEMBERSHIP, ROOT, lineage, read_value

_MACHINE = Path("/proc/meminfo")


def memory_room(*, cgroup_root: Path = ROOT, membership: Path = MEMBERSHIP, machine: Path = _MACHINE) -> int:
    """Bytes that can still be taken before the tightest limit is reached.

    What only caches files counts as free: the kernel drops it first.
    """
    rooms = [_room_v2(folder) for folder in lineage(cgroup_root, membership, controller="")]
    groups = lineage(cgroup_root / "memory", membership, controller="memory")
    rooms += [_room_v1(folder) for folder in groups]
    available = _counters(machine)["MemAvailable:"] * 1024
    return max(0, min([available, *(room for room in rooms if room is not None)]))


def out_of_memory_kills(*, cgroup_root: Path = ROOT, membership: Path = MEMBERSHIP) -> int:
    """How many processes the kernel has killed because a limit of this container was reached."""
    files = [folder / "memory.events" for folder in lineage(cgroup_root, membership, controller="")]
    groups = lineage(cgroup_root / "memory", membership, controller="memory")
    files += [folder / "memory.oom_control" for folder in groups]
    own = next((file for file in files if file.exists()), files[0])  # not its parents', which count others'
    return _counters(own).get("oom_kill", 0)


def _room_v2(folder: Path) -> int | None:
    limit, used = read_value(folder / "memory.max"), read_value(folder / "memory.current")
    if not limit or limit == "max" or not used:
        return None
    return int(limit) - int(used) + _cached(folder, prefix="", mapped="file_mapped")


def _room_v1(folder: Path) -> int | None:
    """Without a limit the file holds a number that no machine has."""
    limit, used = read_value(folder / "memory.limit_in_bytes"), read_value(folder / "memory.usage_in_bytes")
    if not limit or not used:
        return None
    return int(limit) - int(used) + _cached(folder, prefix="total_", mapped="total_mapped_file")


def _cached(folder: Path, *, prefix: str, mapped: str) -> int:
    """Bytes of files that are kept in memory and that no process has mapped."""
    counters = _counters(folder / "memory.stat")
    files = sum(counters.get(f"{prefix}{state}_file", 0) for state in ("active", "inactive"))
    return max(0, files - counters.get(mapped, 0))


def _counters(path: Path) -> dict[str, int]:
    """Lines of a name and a number, perhaps with a unit."""
    lines = (line.split() for line in read_value(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
