"""Images with one fault each, a few MB of Python and `sagemaker_stub`, and what the doctor finds of each."""

import io
import json
import re
import struct
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound
from project import SERVE

from launcher.doctor import catalogue
from launcher.doctor.examination import Result, examine
from launcher.doctor.examined_image import BIND_TO_PORT, MULTI_MODEL, ExaminedImage, Given
from launcher.doctor.limits import Limits

STUB = Path(__file__).with_name("sagemaker_stub.py")
PYTHON = "/usr/bin/python3.11"
# From the serving image, which is there: Python, a shell to kill processes with, and what both are linked to.
GATHER = f"""mkdir -p /out/tmp /out/bin /out/etc; cp -L /bin/sh /out/bin/sh
cp --parents -rL {PYTHON} /usr/lib/python3.11 $(ldd {PYTHON} /bin/sh | grep -o '/lib[^ ]*') /out"""
HURRY = Limits(
    startup_seconds=60,
    serve_stop_seconds=12,
    train_stop_seconds=12,
    failing_seconds=60,
    running_seconds=3,
    handler_seconds=10,
    settling_seconds=10,
    death_seconds=12,
)
ONLY_SERVES = "ENV UNKNOWN=train"
ONLY_TRAINS = ("ENV UNKNOWN=serve", f"LABEL {BIND_TO_PORT}=false {MULTI_MODEL}=false")
REMOVE_KEY = f"""RUN ["{PYTHON}", "-c", "import os; os.remove('/key')"]"""
KEY = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *["b3BlbnNzaC1rZXktdjEAAAAABG5vbmUA" * 2] * 3])

FOREIGN = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHI", 2, 183, 1).ljust(48, b"\0")  # 183: arm64

ENDLESS = f"#!{PYTHON}\nimport signal\nwhile True:\n    signal.pause()\n".encode()


@dataclass(frozen=True)
class Bad:
    """What is wrong with an image: lines of its Dockerfile, or what is edited in it; what finds it."""

    finds: str  # a check's name; "" for an image that is fine
    lines: tuple[str, ...] = ()
    limits: Limits = HURRY
    network: bool = False
    architecture: str = "amd64"


def fault(name: str, finds: str, *more: str, **settings: Any) -> Bad:
    """Return an image with a fault that the stub has in itself."""
    return Bad(finds, (f"ENV FAULT={name}", *more), **settings)


def shell(line: str, then: str = "") -> str:
    """Return an entrypoint that passes its word on to the line of a shell."""
    return f'ENTRYPOINT ["sh", "-ec", "{line} \\"$@\\"{then}", "sh"]'


BAD = {
    "nothing": Bad(""),
    "it-only-trains": fault("late-handler", "", *ONLY_TRAINS),
    "it-only-serves": Bad("", (ONLY_SERVES,)),
    "its-own-user": Bad("", ("USER 1000",)),
    "a-shell-as-entrypoint": Bad("entrypoint", (f'ENTRYPOINT ["sh", "-ec", "exec {PYTHON} /stub.py"]',)),
    "a-shell-that-passes-the-word": Bad("", (shell(f"exec {PYTHON} /stub.py"),)),
    "a-shell-that-stays": Bad("stop-serving", (ONLY_SERVES, shell(f"{PYTHON} /stub.py", "; exit $?"))),
    "shell-form": Bad("entrypoint", (f"ENTRYPOINT {PYTHON} /stub.py",)),
    "no-words": Bad("words", ("ENV UNKNOWN=train,serve",)),
    "echo": Bad("words", (f'ENTRYPOINT ["{PYTHON}", "-c", "import sys; print(*sys.argv[1:])"]',)),
    "serves-always": fault("serves-always", "train-serves"),
    "silent": fault("silent", "healthy", limits=replace(HURRY, failing_seconds=5, startup_seconds=10)),
    "another-architecture": Bad("architecture", architecture="s390x"),
    "another-machine": Bad("", ("COPY foreign /foreign", 'ENTRYPOINT ["/foreign"]'), architecture="arm64"),
    "too-large": Bad("size", limits=replace(HURRY, image_bytes=1_000_000)),
    "secret-variable": Bad("secrets", ("ENV DB_PASSWORD=correct-horse-battery",)),
    "deleted-key": Bad("secrets", ("COPY key /key", REMOVE_KEY)),
    "claimed-port": fault("fixed-port", "labels"),
    "claimed-models": fault("one-model-only", "labels"),
    "never-healthy": fault("never-healthy", "healthy"),
    "on-loopback": fault("on-loopback", "healthy"),
    "names-its-port": Bad("healthy", ("ENV SAGEMAKER_BIND_TO_PORT=9000",)),
    "slow-connections": fault("slow-connections", "connection"),
    "slow-ping": fault("slow-ping", "ping-time"),
    "dripping-ping": fault("dripping-ping", "healthy", limits=replace(HURRY, startup_seconds=25)),
    "early-ping": fault("early-ping", "ping-early"),
    "cannot-predict": fault("cannot-predict", "invocations"),
    "ping-when-dead": fault("ping-when-dead", "ping-late"),
    "a-shell-without-an-end": Bad("", ("COPY endless /bin/sh",)),
    "dies-with-0": fault("dies-with-0", "ping-late"),
    "fixed-port": fault("fixed-port", "bind-to-port", f"LABEL {BIND_TO_PORT}=false"),
    "no-404": fault("no-404", "multi-model"),
    "no-409": fault("no-409", "multi-model"),
    "no-507": fault("no-507", "multi-model"),
    "unpickles": fault("unpickles", "pickles"),
    "serve-ignores-sigterm": fault("serve-ignores-sigterm", "stop-serving"),
    "train-ignores-sigterm": fault("train-ignores-sigterm", "stop-training"),
    "no-failure-file": fault("no-failure-file", "failure-file"),
    "needs-network": fault("needs-network", "network", network=True),
    "root-only": fault("root-only", "user"),
}  # fmt: skip


@contextmanager
def examined(engine: docker.DockerClient, folder: Path) -> Iterator[dict[str, list[Result]]]:
    """Build and examine several at a time, and remove them again."""
    model = folder / "model"
    model.mkdir()
    (model / "weights").write_text("some")
    (folder / "key").write_text(KEY)
    made: list[str] = []

    def examine_one(name: str) -> list[Result]:
        image = _build(engine, base, name, BAD[name], folder)
        made.append(image)
        return _examine(engine, name, image, model)

    try:
        base = _base(engine, folder)
        made.append(base)
        with ThreadPoolExecutor(6) as pool:  # mostly they wait
            yield dict(zip(BAD, pool.map(examine_one, BAD), strict=True))
    finally:
        for image in reversed(made):
            with suppress(ImageNotFound):  # the base goes with the last that was built on it
                engine.images.remove(image, force=True)


def _examine(engine: docker.DockerClient, name: str, image: str, model: Path) -> list[Result]:
    given = Given(model=model, network=BAD[name].network, memory="512m")
    with ExaminedImage(engine, name, engine.images.get(image), given, BAD[name].limits) as subject:
        return list(examine(catalogue.IMAGE, subject))


def _base(engine: docker.DockerClient, folder: Path) -> str:
    """Import an image of the stub alone; returns its ID."""
    donor = engine.containers.create(SERVE, entrypoint=["sh", "-c", GATHER], network_mode="none")
    try:
        donor.start()
        donor.wait(timeout=120)
        pieces, _ = donor.get_archive("/out")
        gathered = folder / "gathered.tar"
        gathered.write_bytes(b"".join(pieces))
    finally:
        donor.remove(force=True, v=True)
    whole = folder / "base.tar"
    with tarfile.open(gathered) as source, tarfile.open(whole, "w") as target:
        for member in source:
            content = source.extractfile(member) if member.isreg() else None
            member.name = member.name.removeprefix("out").lstrip("/") or "."
            target.addfile(member, content)
        target.add(STUB, "stub.py")
    changes = [f'ENTRYPOINT ["{PYTHON}", "/stub.py"]', f"LABEL {BIND_TO_PORT}=true {MULTI_MODEL}=true"]
    imported = engine.api.import_image_from_data(whole.read_bytes(), changes=changes)
    return str(json.loads(imported)["status"])


def _build(engine: docker.DockerClient, base: str, name: str, bad: Bad, folder: Path) -> str:
    """Return the ID of an image of its own, whatever is built from the same lines elsewhere."""
    context = folder / f"build-{name}"
    context.mkdir()
    (context / "key").write_text(KEY)
    for program, content in (("foreign", FOREIGN), ("endless", ENDLESS)):
        (context / program).write_bytes(content)
        (context / program).chmod(0o755)
    (context / "Dockerfile").write_text("\n".join([f"FROM {base}", f"LABEL doctor-test={name}", *bad.lines]))
    image, _ = engine.images.build(path=str(context), rm=True, forcerm=True)
    if bad.architecture == "amd64":
        return str(image.id)
    foreign = _for(bad.architecture, image)
    engine.images.remove(image.id, force=True)
    (loaded,) = engine.images.load(foreign)
    return str(loaded.id)


def _for(architecture: str, image: Any) -> bytes:
    """Return what `docker save` gives, with another word in the image's description."""
    saved, edited = io.BytesIO(b"".join(image.save())), io.BytesIO()
    with tarfile.open(fileobj=saved) as source, tarfile.open(fileobj=edited, mode="w") as target:
        for member in source:
            content = source.extractfile(member)
            data = content.read() if content else b""
            if re.fullmatch(r"[0-9a-f]{64}\.json", member.name):
                data = data.replace(b'"architecture":"amd64"', f'"architecture":"{architecture}"'.encode())
                member.size = len(data)
            target.addfile(member, io.BytesIO(data) if content else None)
    return edited.getvalue()
