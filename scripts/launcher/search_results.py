"""What a search leaves in its folder: the trials, the best hyperparameters, the report.

Called at the end of a search, wherever it ran, and when one on this machine is interrupted.

    runs/<search>/
    ├── request.json     the CreateHyperParameterTuningJob request
    ├── study.db         what Optuna knows; not where the study is in a database, nor for a search on AWS
    ├── <trial's job>/   a folder like any training job's, for each trial on this machine
    ├── trials.csv       a row for each trial
    ├── best.json        the best trial's hyperparameters, for launch_training.py --hyperparameters
    └── report.html      the plots and the table, with a PNG of each plot beside it
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from launcher import command_line, search_space, trials, tuning_report, tuning_request, tuning_view
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.trials import Trial

REQUEST, TRIALS, BEST, REPORT = "request.json", "trials.csv", "best.json", "report.html"


@contextmanager
def new_folder(runs: Path, request: Request) -> Iterator[Path]:
    """Make the folder of a new search, with its request, and remove it where the search cannot begin.

    Raises SettingsError when it is there already.
    """
    name: str = request["HyperParameterTuningJobName"]
    folder = runs.resolve() / name
    try:
        folder.mkdir(parents=True)
        write_request(folder, request)
    except FileExistsError:
        raise SettingsError(
            f"{folder} exists: --attach {name} goes on with that search, another --job-name begins a new one"
        ) from None
    except OSError as error:
        raise SettingsError(f"no folder can be made at {folder}: {error.strerror}") from None
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder)
        raise


def folder_of(runs: Path, request: Request) -> Path:
    """Return the folder of a search that was begun, made if it was begun elsewhere."""
    name: str = request["HyperParameterTuningJobName"]
    folder = runs.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / REQUEST).exists():
        write_request(folder, request)
    return folder


def write_request(folder: Path, request: Request) -> None:
    """Keep the request, as the API takes it."""
    text = json.dumps(request, indent=2, ensure_ascii=False) + "\n"
    (folder / REQUEST).write_text(text, encoding="utf-8")


def conclude(folder: Path, request: Request, found: Sequence[Trial]) -> None:
    """Write everything, print the table and where the best is; raises WorkFailed when no trial succeeded."""
    command_line.page().print(tuning_view.table(request, found))
    best = write(folder, request, found)
    if best is None:
        reasons = sorted({trial.failure for trial in found if trial.failure})
        raise WorkFailed("\n".join(["no trial has an objective", *reasons]))
    print(f"best: {folder / BEST}\nreport: {folder / REPORT}")


def write(folder: Path, request: Request, found: Sequence[Trial]) -> Trial | None:
    """Write everything that can be said about the trials; returns the best one, None where there is none."""
    names = [each.name for each in search_space.entries(request)]
    best = trials.best(found, maximize=tuning_request.objective(request).maximize)
    trials.write_csv(found, names, folder / TRIALS)
    if best is not None:
        static = request["TrainingJobDefinition"].get("StaticHyperParameters", {})
        trials.write_best(best, static, folder / BEST)
    tuning_report.write(folder / REPORT, request, found)
    return best
