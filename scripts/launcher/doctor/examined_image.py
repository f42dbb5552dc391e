"""An image as the doctor sees it: what the engine says of it, and what its containers do, each seen once.

The checks below `image` ask it; what none of them asks for is not tried.
"""

import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from launcher.doctor import entry_command, layers, secret_settings, watch
from launcher.doctor.check import NotApplicable, Unjudged
from launcher.doctor.entry_command import EntryCommand
from launcher.doctor.limits import Limits
from launcher.doctor.observations import ManyModels, Moved, Serving, Start, Training, TrainingStop
from launcher.doctor.probe import Probe
from launcher.doctor.sandbox import NOT_FOUND, Box, Sandbox
from launcher.registry import open_registry

CAPABILITIES = "com.amazonaws.sagemaker.capabilities"
BIND_TO_PORT, MULTI_MODEL = f"{CAPABILITIES}.accept-bind-to-port", f"{CAPABILITIES}.multi-models"
MODELS = "/opt/ml/models/doctor/model"
WRONG_USAGE = {2, 126, NOT_FOUND}  # a program's own, and a shell's
_NOT_OF_HERE = "exec format error"  # as the kernel says it, and whoever starts a container
_WORD_SECONDS = 15.0


@dataclass(frozen=True)
class Given:
    """What an image is examined with: a model's folder, photographs, a network if it needs one."""

    model: Path | None = None
    training: Path | None = None
    network: bool = False
    memory: str = "4g"


class ExaminedImage:
    """One image, with all that is found out about it."""

    def __init__(
        self, client: Any, name: str, image: Any, given: Given, limits: Limits | None = None
    ) -> None:
        """`image` is the engine's, by the name that it was asked for."""
        self.name, self.image, self.given = name, image, given
        self.limits = limits or Limits()
        self._client = client
        self._sandbox = Sandbox(client, image.id, memory=given.memory)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Make what its containers share."""
        self._inside = self._open.enter_context(self._sandbox.network())
        self._folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="doctor-")))
        return self

    def __exit__(self, *exception: object) -> None:
        """Take it away again."""
        self._open.close()

    # ── what the engine says ──────────────────────────────────────────────────────────────────────────

    @property
    def config(self) -> dict[str, Any]:
        """What it starts with: Entrypoint, Env, Labels, …"""
        found: dict[str, Any] = self.image.attrs["Config"]
        return found

    @cached_property
    def command(self) -> EntryCommand:
        """What its entrypoint does with the word behind it."""
        return entry_command.read(self.config.get("Entrypoint") or [])

    def claims(self, label: str) -> bool:
        """Tell whether a label says so."""
        return (self.config.get("Labels") or {}).get(label) == "true"

    @cached_property
    def media_type(self) -> str:
        """Its manifest's kind, as its registry or the engine says; "" while it is the engine's alone.

        Raises WorkFailed where the registry cannot be asked.
        """
        host, slash, rest = self.name.partition("/")
        if slash and re.search(r"[.:]|^localhost$", host):
            registry = open_registry(host, self._client)
            name, at, digest = rest.partition("@")
            repository, _, tag = name.partition(":")
            return registry.manifest(repository, digest if at else tag or "latest").media_type
        return str((self.image.attrs.get("Descriptor") or {}).get("mediaType", ""))

    @cached_property
    def secrets(self) -> list[str]:
        """What in its layers, its variables or its history looks like a secret."""
        told = secret_settings.found_in(self.config, self.image.history())
        return [*told, *layers.found_in(self.image)]

    # ── what it is for ────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _nonsense(self) -> tuple[str, Training]:
        word = f"doctor-{secrets.token_hex(4)}"
        return word, watch.word(self._sandbox, word, _WORD_SECONDS)

    def _ignores(self, word: str, code: int | None, log: str) -> bool:
        """Tell whether a word was taken for nonsense: wrong usage, or the very answer that nonsense gets."""
        if code is None or code in WRONG_USAGE:
            return code is not None
        nonsense, got = self._nonsense
        return (code, log.replace(word, "")) == (got.exit_code, got.log.replace(nonsense, ""))

    @cached_property
    def _foreign(self) -> str:
        """The architecture that it is built for, where the engine is of another that cannot run it; or ""."""
        built, here = str(self.image.attrs["Architecture"]), self._client.version()["Arch"]
        return built if built != here and _NOT_OF_HERE in self._nonsense[1].log.lower() else ""

    def must_run(self) -> None:
        """Raise Unjudged for an image whose programs are another machine's."""
        if self._foreign:
            raise Unjudged(
                f"it is built for {self._foreign}, which this engine cannot run: examine it on a machine of "
                "that kind, or install an emulation (binfmt, qemu-user-static)"
            )

    @cached_property
    def trains(self) -> bool:
        """Whether it answers `train`, and not with the server."""
        self.must_run()
        if self.train_serves:
            return False
        seen = self.training
        return seen.failure is not None or seen.model or not self._ignores("train", seen.exit_code, seen.log)

    @cached_property
    def train_serves(self) -> bool:
        """Whether `train` becomes healthy, too, where it is given what `serve` was given."""
        self.must_run()
        usual = self.serving.start.healthy_after
        if usual is None:
            return False
        return self._start(2 * usual + 10, word="train").healthy_after is not None

    @cached_property
    def serves(self) -> bool:
        """Whether it answers `serve`, healthy or not."""
        self.must_run()
        seen = self.serving.start
        return seen.healthy_after is not None or not self._ignores("serve", seen.exit_code, seen.log)

    def must_train(self) -> None:
        """Raise NotApplicable for an image that does not train."""
        if not self.trains:
            raise NotApplicable("it does not answer `train`")

    def must_serve(self) -> None:
        """Raise NotApplicable for an image that does not serve."""
        if not self.serves:
            raise NotApplicable("it does not answer `serve`")

    @property
    def healthy(self) -> Serving:
        """What was seen of its endpoint; raises NotApplicable where that never was healthy."""
        self.must_serve()
        if self.serving.start.healthy_after is None:
            raise NotApplicable("its endpoint does not become healthy")
        return self.serving

    # ── what it does ──────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def training(self) -> Training:
        """A job whose data is an empty folder."""
        return self._failed_training(self.limits.failing_seconds)

    @cached_property
    def training_as_nobody(self) -> Training:
        """The same as some user without capabilities; not waited for where root's went on, too."""
        goes_on = self.training.exit_code is None
        patience = self.limits.running_seconds if goes_on else self.limits.failing_seconds
        return self._failed_training(patience, nobody=True)

    def _failed_training(self, seconds: float, *, nobody: bool = False) -> Training:
        with self._job(hosts=1, nobody=nobody) as box:
            return watch.training(box, seconds)

    @cached_property
    def training_stop(self) -> TrainingStop:
        """A job that goes on, given data or else waiting for another host, and is told to stop."""
        given = self.given.training
        with self._job(hosts=1 if given else 2, training=given) as box:
            return watch.training_stop(box, self.limits)

    @contextmanager
    def _job(self, *, hosts: int, nobody: bool = False, training: Path | None = None) -> Iterator[Box]:
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as folder,
            watch.job(Path(folder), hosts=hosts, training=training) as files,
            self._sandbox.running("train", files=files, nobody=nobody) as box,
        ):
            yield box

    @cached_property
    def serving(self) -> Serving:
        """An endpoint; with a network only where it needs one, and one was given."""
        with self._endpoint(self._inside) as box:
            seen = watch.serving(box, self.limits)
        if seen.start.healthy_after is not None or not self.given.network:
            return seen
        with self._endpoint("bridge") as box:
            return replace(watch.serving(box, self.limits), networked=True)

    @property
    def _network(self) -> str:
        return "bridge" if self.serving.networked else self._inside

    @cached_property
    def moved(self) -> Moved:
        """An endpoint that is told another port."""
        self.healthy  # noqa: B018 - else there is nothing to see
        told = {"SAGEMAKER_BIND_TO_PORT": str(watch.OTHER_PORT)}
        with self._endpoint(self._network, environment=told) as box:
            return watch.moved(box, self.limits)

    @cached_property
    def serving_as_nobody(self) -> Start:
        """An endpoint as some user without capabilities."""
        return self._start(self.limits.startup_seconds, nobody=True)

    @cached_property
    def serving_without_model(self) -> Start:
        """An endpoint whose model is an empty folder, waited for as long as the whole one took, and more."""
        # Twice as long and some seconds more: what then does not listen does not listen for want of a model.
        return self._start(2 * (self.healthy.start.healthy_after or 0.0) + 3, model=self._empty)

    def _start(
        self, seconds: float, *, word: str = "serve", nobody: bool = False, model: Path | None = None
    ) -> Start:
        self.healthy  # noqa: B018 - else there is nothing to see
        with self._endpoint(self._network, word=word, nobody=nobody, model=model) as box:
            return watch.start(box, Probe(box.address, watch.PORT), seconds)

    @cached_property
    def many_models(self) -> ManyModels:
        """A multi-model endpoint; raises NotApplicable where none is claimed, Unjudged without a model."""
        self.healthy  # noqa: B018 - else there is nothing to see
        if not self.claims(MULTI_MODEL):
            raise NotApplicable(f"it has no label {MULTI_MODEL}=true")
        if self.given.model is None:
            raise Unjudged("there is no model to load: --model names one")
        with self._sandbox.running(
            "serve",
            network=self._network,
            files={MODELS: self.given.model},
            environment={"SAGEMAKER_MULTI_MODEL": "true"},
            memory=watch.MODELS_MEMORY,
        ) as box:
            return watch.many_models(box, self.limits, MODELS)

    @cached_property
    def _empty(self) -> Path:
        folder = self._folder / "empty"
        folder.mkdir(exist_ok=True)
        return folder

    def _endpoint(
        self,
        network: str,
        *,
        word: str = "serve",
        environment: dict[str, str] | None = None,
        nobody: bool = False,
        model: Path | None = None,
    ) -> AbstractContextManager[Box]:
        files = {watch.MODEL: model or self.given.model or self._empty}
        return self._sandbox.running(
            word, network=network, files=files, environment=environment, nobody=nobody
        )
