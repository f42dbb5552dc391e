"""How much memory is left comes from the container's limits, where there are any."""

from pathlib import Path

import pytest

from predictor.memory import memory_room, out_of_memory_kills

MACHINE = "MemTotal: 8000 kB\nMemAvailable: 5000 kB\n"
STATISTICS = "active_file 300\ninactive_file 200\nfile_mapped 100\n"
STATISTICS_V1 = "active_file 1\ntotal_active_file 300\ntotal_inactive_file 200\ntotal_mapped_file 100\n"


def _write(root: Path, groups: str, files: dict[str, str]) -> dict[str, Path]:
    files = {"machine": MACHINE, "membership": groups} | {
        f"cgroup/{name}": text for name, text in files.items()
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return {"cgroup_root": root / "cgroup", "membership": root / "membership"}


def _room(root: Path, groups: str, files: dict[str, str]) -> int:
    return memory_room(**_write(root, groups, files), machine=root / "machine")


@pytest.mark.parametrize(
    ("limit", "room"), [("10000", 10_000 - 4_000 + 400), ("max", 5000 * 1024), ("1000", 0)]
)
def test_the_limit_of_cgroup_2_counts_and_cached_files_are_free(
    tmp_path: Path, limit: str, room: int
) -> None:
    files = {"memory.max": limit, "memory.current": "4000", "memory.stat": STATISTICS}
    assert _room(tmp_path, "0::/\n", files) == room


@pytest.mark.parametrize(
    ("limit", "room"), [("10000", 10_000 - 4_000 + 400), ("9223372036854771712", 5000 * 1024)]
)
def test_the_limit_of_cgroup_1_counts_also_where_only_the_own_group_is_seen(
    tmp_path: Path, limit: str, room: int
) -> None:
    values = {"limit_in_bytes": limit, "usage_in_bytes": "4000", "stat": STATISTICS_V1}
    files = {f"memory/memory.{name}": value for name, value in values.items()}
    assert _room(tmp_path, "4:memory:/docker/0123\n", files) == room


def test_the_limit_of_a_parent_group_binds(tmp_path: Path) -> None:
    files = {"a/memory.max": "9000", "a/memory.current": "8000", "a/b/memory.max": "max"}
    assert _room(tmp_path, "0::/a/b\n", files) == 1000


def test_without_cgroups_the_machine_counts(tmp_path: Path) -> None:
    assert _room(tmp_path, "", {}) == 5000 * 1024


@pytest.mark.parametrize("file", ["memory.events", "memory/memory.oom_control"])
def test_the_kernels_kills_in_the_own_group_are_counted(tmp_path: Path, file: str) -> None:
    paths = _write(tmp_path, "4:memory:/\n0::/\n", {file: "under_oom 0\noom_kill 3\n"})
    assert out_of_memory_kills(**paths) == 3
