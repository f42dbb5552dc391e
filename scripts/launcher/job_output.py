"""What a finished job left behind for an analysis: its data and its tensors, on this machine or on S3.

Called by `analyze_debug.py`. Recognised are a job's folder (`runs/<job>`), a job's prefix on S3 or a copy of
it, the output folder of a job alone (`output/data`), and the folder of a trial that smdebug wrote anywhere.

    runs/<job>                    s3://…/<job>
    ├── output/data/              ├── output/output.tar.gz       run.json, history.json, findings.json, …
    └── output/tensors/           └── debug-output/              the trial, of several networks one each
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher import archives
from launcher.errors import SettingsError
from launcher.folders import appearing
from launcher.s3 import Prefix

# What the training program writes of a run; any one of them tells that a folder is its output.
RUN_FILES = ("run.json", "history.json", "findings.json", "profile.json")
ARCHIVE = "output/output.tar.gz"
# Below a job's folder, a job's prefix, an output folder; a trial's own folder comes last.
DATA_PLACES = ("output/data", ".")
TENSOR_PLACES = ("output/tensors", "output/data/tensors", "debug-output", "tensors", ".")
EVENTS = "events"  # the folder in which smdebug keeps a trial's tensors
MAX_FILES = 1_000_000  # a trial has two or three for each step that was saved
_RESULTS = re.compile(r"[^/]+\.(json|csv)")  # of an output folder, which trial and model are no part of
_TENSORS = re.compile(rf"debug-output/.+|(.+/)?(collections|{EVENTS}|index)/.+")


@dataclass(frozen=True)
class JobOutput:
    """The folder of a run's files, and that of its tensors; one of them may be missing."""

    data: Path | None
    tensors: Path | None


def find(place: str, scratch: Path) -> JobOutput:
    """Return what lies at a folder, or at an `s3://` URI, from where it is brought to `scratch`.

    Raises SettingsError where there is nothing to analyse, and WorkFailed for what cannot be fetched whole.
    """
    folder = _fetch(place, scratch / "download") if "://" in place else Path(place).resolve()
    if not folder.is_dir():
        raise SettingsError(f"there is no folder {folder}")
    data = next(_where(folder, DATA_PLACES, _is_data), None)
    if data is None and (folder / ARCHIVE).is_file():
        data = _unpack(folder / ARCHIVE, scratch / "unpacked")
    tensors = next(_where(folder, TENSOR_PLACES, _is_trial), None)
    if tensors is None and data is not None:  # of a job that had no DebugHookConfig
        tensors = next(_where(data, ("tensors", "../tensors"), _is_trial), None)
    if data is None and tensors is None:
        raise SettingsError(
            f"{place} is neither a job's folder nor a trial's: it has none of {', '.join(RUN_FILES)}, "
            f"no {ARCHIVE} and no {EVENTS}/"
        )
    return JobOutput(data, tensors)


def name_of(place: str) -> str:
    """Return what to call the analysis of a place: the job's name where the place is a job."""
    parts = place.rstrip("/").split("/") if "://" in place else list(Path(place).resolve().parts)
    generic = {"output", "data", "tensors", "debug-output", ""}
    return next((part for part in reversed(parts) if part not in generic), "trial")


def _where(folder: Path, places: Iterable[str], fits: Callable[[Path], bool]) -> Iterator[Path]:
    return ((folder / place).resolve() for place in places if fits(folder / place))


def _is_data(folder: Path) -> bool:
    return any((folder / name).is_file() for name in RUN_FILES)


def _is_trial(folder: Path) -> bool:
    """Tell whether a folder is a trial, or has one for each of several networks."""
    return any(path.is_dir() for path in (folder / EVENTS, *folder.glob(f"*/{EVENTS}")))


def _fetch(uri: str, folder: Path) -> Path:
    prefix = Prefix(uri)
    files = prefix.files()
    results = _RESULTS if files.keys() & set(RUN_FILES) else re.compile(re.escape(ARCHIVE))
    wanted = [name for name in files if results.fullmatch(name) or _TENSORS.fullmatch(name)]
    if not wanted:
        what = f"neither {ARCHIVE} nor debug-output/ nor a trial's {EVENTS}/" if files else "nothing"
        raise SettingsError(f"{uri} has {what} below it")
    prefix.fetch({name: files[name] for name in wanted}, folder)
    return folder


def _unpack(archive: Path, folder: Path) -> Path:
    """Unpack a job's output; its files are the archive's, or those of the folder `data` in it."""
    with appearing(folder) as hidden:
        archives.unpack(archive, hidden, max_members=MAX_FILES)
    return next(_where(folder, ("data", "."), _is_data), folder)
