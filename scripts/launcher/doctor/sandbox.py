"""Containers of an image that nobody has judged yet: bounded, and removed whatever happens.

Called by `examined_image`. Such a container has no way out of this machine unless it is given one, none of
the machine's files (what it needs is copied into it), few of root's capabilities, bounded memory, processes
and log. Its disk is bounded only by the time that it is given.
"""

import secrets
import signal
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig
from requests.exceptions import RequestException

from launcher import docker_backend
from launcher.docker_backend import LABEL, Container
from launcher.doctor.first_process import FirstProcess
from launcher.doctor.listening import BIND, Listening
from launcher.errors import WorkFailed

# What servers that start as root and go on as somebody else need; all else of root's might is taken away.
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
NOBODY = 12345  # a user that no image knows
NOT_FOUND = 127  # a shell's exit code for a program that is not there
MAX_READ = 2**20  # bytes of a file of the container that are looked at
LOG_LINES = 50
_LOOK_SECONDS = 0.1
_SHELL_SECONDS = 30.0


class Box(Container):
    """A container that has been started; `refused` is why it could not be, or ""."""

    def __init__(self, container: Any, refused: str = "") -> None:
        super().__init__(container)
        self.refused = refused

    @property
    def address(self) -> str:
        """Its IP address in its only network; "" once it has ended."""
        self._container.reload()
        networks = self._container.attrs["NetworkSettings"]["Networks"].values()
        return next((str(network["IPAddress"]) for network in networks), "")

    def exit_code(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return NOT_FOUND if self.refused else super().exit_code()

    def ended_within(self, seconds: float) -> int | None:
        """Wait for its end; returns the exit code, or None where it runs on."""
        deadline = time.monotonic() + seconds
        while (code := self.exit_code()) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return code

    def obeys_within(self, seconds: float, *, handler_seconds: float) -> float | None:
        """Ask it to end with SIGTERM, once; returns after how many seconds it had, or None if it did not.

        A first process that has no handler yet would never see the signal, so it gets time to install one.
        """
        deadline = time.monotonic() + handler_seconds
        while not self._first.catches(signal.SIGTERM) and time.monotonic() < deadline:
            if self.exit_code() is not None:
                break
            time.sleep(_LOOK_SECONDS)
        began = time.monotonic()
        self.terminate()
        return None if self.ended_within(seconds) is None else time.monotonic() - began

    def listening(self) -> Listening:
        """Return where it listens by now."""
        environment = dict(each.partition("=")[::2] for each in self._container.attrs["Config"]["Env"] or [])
        return Listening(self._first.places(), environment.get(BIND, ""))

    @property
    def _first(self) -> FirstProcess:
        self._container.reload()
        return FirstProcess(int(self._container.attrs["State"]["Pid"]))

    def log(self) -> str:
        """Return the last lines that it has written."""
        if self.refused:
            return self.refused
        return str(self._container.logs(tail=LOG_LINES).decode(errors="replace"))

    def kill_all_but_the_first(self) -> bool | None:
        """Kill every process but the first; False where there is no other, None where no shell does it."""
        engine = self._container.client.api
        try:
            shell = engine.exec_create(self._container.id, ["sh", "-c", "kill -9 -1"], user="0")["Id"]
            engine.exec_start(shell, detach=True)  # what it says is not read: it may have no end
        except APIError:
            return None
        deadline = time.monotonic() + _SHELL_SECONDS
        while (code := engine.exec_inspect(shell)["ExitCode"]) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return None if code in {None, 126, NOT_FOUND} else code == 0

    def has(self, path: str) -> bool:
        """Tell whether there is a file in it."""
        return self.read(path) is not None

    def has_files(self, folder: str) -> bool:
        """Tell whether there is a file below a folder, among the first that are there."""
        with self._archived(folder) as archive:
            return archive is not None and any(member.isreg() for member in archive)

    def read(self, path: str) -> bytes | None:
        """Return the beginning of a file, or None where there is none."""
        with self._archived(path) as archive:
            if archive is None:
                return None
            member = archive.next()
            file = archive.extractfile(member) if member and member.isreg() else None
            return file.read(MAX_READ) if file else b""

    @contextmanager
    def _archived(self, path: str) -> Iterator[tarfile.TarFile | None]:
        """Yield the beginning of what is at a path, None where nothing is."""
        try:
            pieces, _ = self._container.get_archive(path)
        except NotFound:
            yield None
            return
        with tempfile.TemporaryFile() as beginning:
            for piece in pieces:
                beginning.write(piece)
                if beginning.tell() > MAX_READ:
                    break
            beginning.seek(0)
            with tarfile.open(fileobj=beginning, mode="r|") as archive:
                yield archive


class Sandbox:
    """Starts containers of one image."""

    def __init__(self, client: Any, image: str, *, memory: str) -> None:
        """`image` is a name or an ID; `memory` is what each container may take ("4g")."""
        self._client, self._image, self._memory = client, image, memory

    @contextmanager
    def network(self) -> Iterator[str]:
        """Make a network that leads to this machine alone, for as long as the context lasts."""
        with docker_backend.network(self._client, "doctor", internal=True) as name:
            yield name

    @contextmanager
    def running(
        self,
        *words: str,
        network: str = "none",
        files: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        nobody: bool = False,
        memory: str | None = None,
    ) -> Iterator[Box]:
        """Start `docker run IMAGE WORDS` with `files` (path there → path here) and remove it afterwards.

        `nobody`: as some user without any capability. Raises WorkFailed when the engine gives up.
        """
        name = f"doctor-{secrets.token_hex(4)}"
        settings = self._settings(nobody=nobody, memory=memory or self._memory)
        try:
            try:
                container = self._client.containers.create(
                    self._image,
                    list(words),
                    name=name,
                    labels={LABEL: name},
                    network_mode=network,
                    environment=dict(environment or {}),
                    **settings,
                )
                with _packed(files or {}, owner=NOBODY if nobody else 0) as archive:
                    container.put_archive("/", archive)
                yield _started(container)
            finally:
                docker_backend.remove(self._client, name)
        except (DockerException, RequestException) as error:
            raise WorkFailed(f"the Docker engine gave up a container of {self._image}: {error}") from None

    def _settings(self, *, nobody: bool, memory: str) -> dict[str, Any]:
        return {
            "hostname": "algo-1",
            "extra_hosts": {"algo-1": "127.0.0.1"},  # without a network nothing else resolves it
            "mem_limit": memory,
            "memswap_limit": memory,
            "pids_limit": 1024,
            "cap_drop": ["ALL"],
            "cap_add": [] if nobody else list(CAPABILITIES),
            "security_opt": ["no-new-privileges"],
            "log_config": LogConfig(type="json-file", config={"max-size": "10m", "max-file": "1"}),
            **({"user": f"{NOBODY}:{NOBODY}"} if nobody else {}),
        }


def _started(container: Any) -> Box:
    try:
        container.start()
    except APIError as error:  # there is no such program in it, or it is another machine's
        return Box(container, refused=str(error.explanation or error))
    return Box(container)


@contextmanager
def _packed(files: Mapping[str, Path], *, owner: int) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for there, here in files.items():
                tar.add(here, arcname=there.lstrip("/"), filter=_owned_by(owner))
        archive.seek(0)
        yield archive


def _owned_by(user: int) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    """Return what gives a user all that is copied, whoever owns it here."""

    def own(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = user
        member.uname = member.gname = ""
        member.mode = 0o777 if member.isdir() else 0o666  # the image may name a user of its own
        return member

    return own
