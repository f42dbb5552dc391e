"""Marks each test by the folder it lies in, and brings what several folders need: pictures, images, disks."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException
from project import run_make

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("unit", "container", "local_mode", "aws")
WITH_CONTAINERS = ("container", "local_mode")


def pytest_configure() -> None:
    """Let the programs under test be interrupted, also where this run was started in the background.

    A shell starts background jobs with SIGINT ignored, and that is handed down to every descendant.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let one pytest-xdist worker build images and run containers: two builds at once would race."""
    if folder_of(item) in WITH_CONTAINERS:
        item.add_marker(pytest.mark.xdist_group("containers"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/unit/… is marked `unit`, tests/container/… `container`, and so on."""
    for item in items:
        if folder_of(item) in MARKS:
            item.add_marker(folder_of(item))


def folder_of(item: pytest.Item) -> str:
    """The folder below tests/ that a test lies in."""
    return item.path.relative_to(ROOT / "tests").parts[0]


@pytest.fixture(scope="session")
def dogs() -> Path:
    """The real photographs, where this machine has them beside the checkout."""
    folder = ROOT.parent / "shared" / "dogs"
    if not folder.is_dir():
        pytest.skip(f"no photographs: {folder} is not there")
    return folder


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A Docker engine, or a skip that says there is none."""
    try:
        client = docker.from_env()
    except DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def images(engine: docker.DockerClient) -> docker.DockerClient:
    """An engine that has both images, built from this checkout."""
    built = run_make("build")
    assert built.returncode == 0, built.stderr
    return engine


@pytest.fixture
def mount_disk() -> Iterator[Callable[[Path, str], Path]]:
    """Put a file system of a size, such as `64k` or `6m`, at a folder, made where it is not there."""
    disks: list[Path] = []

    def mount(folder: Path, size: str) -> Path:
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, check=False).returncode:
            pytest.skip("a full disk needs the right to mount a tmpfs")
        disks.append(folder)
        return folder

    yield mount
    for disk in disks:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def fill() -> Callable[[Path], Path]:
    """Take all room of a small disk; returns the file that has it."""

    def filled(disk: Path) -> Path:
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        return ballast

    return filled


def pytest_addoption(parser: pytest.Parser) -> None:
    """--update-golden: write the requests of tests/golden as they are now."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/*/*.json anew")
