"""A registry of this machine, Debian's docker-registry, and images small enough to be pushed often."""

import io
import json
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import docker
import httpx
import pytest


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run a registry; gives HOST:PORT and the log of what it is asked, or skips where there is none."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (apt-get install docker-registry)")
    address = f"127.0.0.1:{free_port()}"
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}}
    configuration = {"version": "0.1", "storage": storage, "http": {"addr": address}}
    (folder / "config.yml").write_text(json.dumps(configuration))  # JSON is YAML
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
        try:
            _wait_until_it_answers(f"http://{address}/v2/", process, folder / "log")
            yield address, folder / "log"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            httpx.get(url)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer: {log.read_text()}")


@contextmanager
def small_image(
    engine: docker.DockerClient, name: str, tag: str, labels: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Make an image of one small file, as NAME:TAG; all names that it was given are removed afterwards."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        text = f"{name}:{tag}\n".encode()
        entry = tarfile.TarInfo("motto")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    changes = [f"LABEL {key}={value}" for key, value in (labels or {}).items()]
    engine.api.import_image_from_data(content.getvalue(), repository=name, tag=tag, changes=changes)
    made = engine.images.get(f"{name}:{tag}").id
    try:
        yield f"{name}:{tag}"
    finally:
        for each in engine.images.list():
            for known in each.tags if each.id == made else ():
                engine.images.remove(known)
