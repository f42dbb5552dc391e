"""A search as it goes on, and as it ended: a table that follows the trials, or one line for each change.

Called by scripts/launch_hpo.py, for searches on this machine and on AWS alike.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from launcher import search_space, trials, tuning_request
from launcher.plain_text import cell
from launcher.requests import Request
from launcher.trials import Trial

_STYLES = {"InProgress": "cyan", "Failed": "red", "Stopped": "yellow"}


def table(request: Request, found: Sequence[Trial]) -> Table:
    """Lay the trials of a tuning request out, the best one marked."""
    objective = tuning_request.objective(request)
    best = trials.best(found, maximize=objective.maximize)
    names = [each.name for each in search_space.entries(request)]
    costs = any(trial.cost is not None for trial in found)
    grid = Table(title=f"search {request['HyperParameterTuningJobName']}", title_justify="left")
    for name in ("trial", "status", *names, objective.metric, "minutes", *(["cost so far"] * costs)):
        grid.add_column(name, justify="left" if name in {"trial", "status"} else "right")
    for number, trial in enumerate(found, start=1):
        values = [trials.shown(trial.values[name]) if name in trial.values else "" for name in names]
        cost = ["" if trial.cost is None else f"${trial.cost:.2f}"] * costs
        cells = [str(number), trial.status, *values, _objective(trial), f"{trial.seconds / 60:.1f}", *cost]
        grid.add_row(*map(cell, cells), style="bold green" if trial is best else _STYLES.get(trial.status))
    return grid


def _objective(trial: Trial) -> str:
    """The objective, or what it is so far."""
    value = trial.objective
    if value is None and trial.curve:
        value = trial.curve[max(trial.curve)]
    return "" if value is None else f"{value:.4f}"


class View:
    """Shows a search while it goes on, on stderr: a table on a terminal, else lines."""

    def __init__(
        self, request: Request, look: Callable[[], Sequence[Trial]], say: Callable[[str], None]
    ) -> None:
        self._request = request
        self._look = look
        self._say = say
        self._said: dict[str, str] = {}
        console = Console(stderr=True)
        self._live = (
            Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def refresh(self) -> None:
        """Look at the trials again and show what is new."""
        found = self._look()
        if self._live:
            self._live.update(table(self._request, found), refresh=True)
        for trial in found:
            begun = trial.values or trial.status != "InProgress"  # else it waits for a place
            if begun and self._said.get(trial.name) != (line := _line(trial)):
                self._said[trial.name] = line
                if not self._live:
                    self._say(line)


def _line(trial: Trial) -> str:
    """One line about a trial: what it tries, how it is going, or why it failed."""
    values = ", ".join(f"{name} {trials.shown(text)}" for name, text in trial.values.items())
    if trial.status == "Failed":
        return f"{trial.name} | Failed: {trial.failure.partition(chr(10))[0]}"
    if trial.status == "InProgress" and trial.curve:
        return f"{trial.name} | epoch {max(trial.curve)}: {_objective(trial)}"
    return f"{trial.name} | {trial.status}: {_objective(trial) or values}"
