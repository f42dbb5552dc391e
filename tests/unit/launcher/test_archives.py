"""model.tar.gz: reproducible when packed, harmless when unpacked."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import archives
from launcher.errors import WorkFailed


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "reports").mkdir(parents=True)
    (folder / "artifact.json").write_text("{}")
    (folder / "reports" / ("long-" * 40 + ".txt")).write_bytes(os.urandom(3000))
    return folder


def test_what_was_packed_is_what_is_unpacked(model: Path, tmp_path: Path) -> None:
    archives.pack(model, tmp_path / "model.tar.gz")
    (tmp_path / "copy").mkdir()

    archives.unpack(tmp_path / "model.tar.gz", tmp_path / "copy")

    assert contents(tmp_path / "copy") == contents(model)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_files_give_the_same_bytes_at_another_time_and_place(model: Path, tmp_path: Path) -> None:
    archives.pack(model, tmp_path / "first.tar.gz")
    for path in model.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    moved = model.rename(tmp_path / "elsewhere")

    archives.pack(moved, tmp_path / "second.tar.gz")

    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.tar.gz").read_bytes()


def test_a_link_in_the_model_is_refused_and_no_partial_archive_is_left(model: Path, tmp_path: Path) -> None:
    (model / "zlink").symlink_to("/etc/passwd")

    with pytest.raises(WorkFailed, match="zlink"):
        archives.pack(model, tmp_path / "out/model.tar.gz")

    assert list((tmp_path / "out").iterdir()) == []


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


HOSTILE: dict[str, list[tarfile.TarInfo]] = {
    "absolute": [member("/escaped")],
    "parent": [member("../escaped")],
    "parent in the middle": [member("a/../../escaped")],
    "symlink": [member("link", tarfile.SYMTYPE, "/etc/passwd")],
    "symlink, then a file through it": [member("out", tarfile.SYMTYPE, ".."), member("out/escaped")],
    "hardlink": [member("link", tarfile.LNKTYPE, "/etc/passwd")],
    "character device": [member("device", tarfile.CHRTYPE)],
    "block device": [member("device", tarfile.BLKTYPE)],
    "fifo": [member("fifo", tarfile.FIFOTYPE)],
    "the same file twice": [member("a"), member("a")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_member_is_refused_and_nothing_is_written_outside(
    members: list[tarfile.TarInfo], tmp_path: Path
) -> None:
    archive = written(tmp_path, lambda tar: [tar.addfile(entry) for entry in members])
    target = tmp_path / "in/model"
    target.mkdir(parents=True)

    with pytest.raises(WorkFailed, match=r"outside|link or a device|twice"):
        archives.unpack(archive, target)

    assert sorted(path.name for path in tmp_path.rglob("*") if path.name not in {"a", "out"}) == [
        "in",
        "model",
        "model.tar.gz",
    ]


def written(folder: Path, fill: Callable[[tarfile.TarFile], object]) -> Path:
    path = folder / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        fill(tar)
    return path


def test_a_bomb_is_refused_by_its_header_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = member("zeros")
    bomb.size = 50_000_000
    archive = written(tmp_path, lambda tar: tar.addfile(bomb, io.BytesIO(bytes(bomb.size))))
    (tmp_path / "model").mkdir()

    with pytest.raises(WorkFailed, match="more than"):
        archives.unpack(archive, tmp_path / "model", max_bytes=1_000_000)

    assert list((tmp_path / "model").iterdir()) == []


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    archive = written(tmp_path, lambda tar: [tar.addfile(member(str(number))) for number in range(20)])
    (tmp_path / "model").mkdir()

    with pytest.raises(WorkFailed, match="more than 10 files"):
        archives.unpack(archive, tmp_path / "model", max_members=10)


def test_a_name_of_absurd_length_is_refused_before_it_is_read(tmp_path: Path) -> None:
    archive = written(tmp_path, lambda tar: tar.addfile(member("x" * 1_000_000)))
    (tmp_path / "model").mkdir()

    with pytest.raises(WorkFailed, match="too long"):
        archives.unpack(archive, tmp_path / "model")


def test_a_truncated_archive_and_one_that_is_none_are_told(model: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    archives.pack(model, archive)
    archive.write_bytes(archive.read_bytes()[:1500])
    (tmp_path / "copy").mkdir()
    with pytest.raises(WorkFailed, match=r"not a whole model\.tar\.gz"):
        archives.unpack(archive, tmp_path / "copy")

    archive.write_bytes(gzip.compress(b"not a tar" * 100))
    with pytest.raises(WorkFailed, match=r"not a whole model\.tar\.gz"):
        archives.unpack(archive, tmp_path / "copy")
