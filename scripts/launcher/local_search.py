"""A search on this machine, from its request to its results. Called by `searching`.

The study remembers, the tuner runs, the view shows, and what is left is written at the end, however it ends.
"""

from collections.abc import Callable
from pathlib import Path

from launcher import search_results, study, study_storage, tuning_request, tuning_view
from launcher.backends import Backend
from launcher.errors import SettingsError
from launcher.requests import Request
from launcher.study import Study
from launcher.tuner import Tuner

Say = Callable[[str], None]


def begin(request: Request, runs: Path, storage: str | None, say: Say) -> tuple[Study, Path]:
    """Make the folder and the study of a new search; raises SettingsError when there is one of its name."""
    parents = request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", [])
    earlier = {}
    for parent in (each["HyperParameterTuningJobName"] for each in parents):
        earlier[parent] = _parent(parent, request, runs, storage).trials()
    with search_results.new_folder(runs, request) as folder:
        begun = study.create(request, storage or study_storage.in_folder(folder))
        for parent, count in begun.learn_from(earlier).items():
            say(f"warm start: {count} of {len(earlier[parent])} trials of {parent} are of use")
    return begun, folder


def attach(name: str, runs: Path, storage: str | None) -> tuple[Study, Path]:
    """Open a search that was begun, here or on another machine; raises SettingsError when there is none."""
    found = _attach(name, runs, storage)
    return found, search_results.folder_of(runs, found.request)


def _parent(name: str, request: Request, runs: Path, storage: str | None) -> Study:
    """Open a search to learn from; raises SettingsError where it searched for something else."""
    found = _attach(name, runs, storage)
    ours, theirs = map(tuning_request.objective, (request, found.request))
    if ours != theirs:
        raise SettingsError(
            f"{name} searched for {theirs}, this search is for {ours}: nothing can be learnt from it"
        )
    return found


def _attach(name: str, runs: Path, storage: str | None) -> Study:
    folder = runs.resolve() / name
    if storage is None and not (folder / study_storage.FILE).is_file():
        what = f"there is no search {name} in {runs.resolve()}: it has no {name}/{study_storage.FILE}"
        raise SettingsError(f"{what}; remove {folder} to begin it anew" if folder.is_dir() else what)
    return study.attach(name, storage or study_storage.in_folder(folder))


def run(found: Study, backend: Backend, folder: Path, say: Say) -> None:
    """Run what is left of a search, print its table, and write its results.

    Raises WorkFailed when no trial succeeded or the study cannot be written.
    """
    name = found.request["HyperParameterTuningJobName"]
    say(f"search {name}: {found.left()} trials to go; everything is kept in {folder}")
    try:
        with tuning_view.View(found.request, found.trials, say) as view:
            why = Tuner(found, backend, folder).run(view.refresh)
            view.refresh()
    except (KeyboardInterrupt, SystemExit) as interrupt:
        interrupt.add_note(f"--attach {name} goes on with the search; what it has found is in {folder}")
        search_results.write(folder, found.request, found.trials())
        raise
    if why:
        say(f"the search is over: {why}")
    search_results.conclude(folder, found.request, found.trials())
