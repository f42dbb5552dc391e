"""What was seen of an image's containers: plain values, which the checks below `image` judge.

Made by `watch`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher.doctor.listening import Listening


@dataclass(frozen=True)
class Start:
    """How `serve` started: when /ping was first OK, in seconds, else how it ended, and its last lines.

    `ping` is what was seen of GET /ping at last, in words, `listening` where it listened then.
    """

    healthy_after: float | None
    exit_code: int | None
    log: str
    ping: str = ""
    listening: Listening = field(default_factory=Listening)


@dataclass(frozen=True)
class Serving:
    """An endpoint as the platform runs it, from start to SIGTERM; what follows `start` is of a healthy one.

    `answers` are the statuses of the same request, when /ping was first OK and once it had settled, `sent`
    those of requests then, by their content type.
    """

    start: Start
    networked: bool = False
    answers: tuple[int | None, int | None] = (None, None)
    sent: Mapping[str, int | None] = field(default_factory=dict)
    connect_seconds: float = 0.0
    ping_seconds: float = 0.0
    unpickled: bool = False
    stopped_after: float | None = None


@dataclass(frozen=True)
class Death:
    """What became of an endpoint whose processes were killed.

    `killed` is False where there was but one, None where nothing could be killed. The statuses are those of
    /ping and of a request at last, `before` that of the same request when all was well.
    """

    killed: bool | None
    exit_code: int | None = None
    ping: int | None = None
    answer: int | None = None
    before: int | None = None


@dataclass(frozen=True)
class Moved:
    """An endpoint that was told another port: where it listened, if anywhere, and how it died."""

    asked: int
    port: int | None
    log: str
    death: Death | None


@dataclass(frozen=True)
class ManyModels:
    """An endpoint that was told to host many models, and the statuses of what it was asked.

    `unknown` are those for a model that is not loaded, by request; `full` is the first that was not OK of
    `loads` further ones, None where all were.
    """

    start: Start
    loaded: int | None = None
    unknown: dict[str, int | None] | None = None
    twice: int | None = None
    loads: int = 0
    full: int | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class Training:
    """How `train` ended, None where it went on, with its failure file and its last lines.

    `model` tells whether it left files for a model.
    """

    exit_code: int | None
    failure: str | None
    log: str
    model: bool = False


@dataclass(frozen=True)
class TrainingStop:
    """How `train` took SIGTERM: after how many seconds it had ended; or its exit code had it ended before."""

    ended_before: int | None
    stopped_after: float | None
    log: str
