"""Offline inference: files and folders → the most probable classes of each picture.

Called by `predict.py`. Pictures are decoded and inferred in parallel streams and come out in order; only a
few are held at a time, so that memory does not grow with their number.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path

import numpy as np

from predictor.images import EXTENSIONS, PictureError, load_view
from predictor.model import Model
from predictor.ranking import Guess, rank

_OTHER_FORMATS = {".avif", ".heic", ".heif", ".jp2", ".jxl"}


@dataclass(frozen=True)
class Answer:
    """What came out for one file: guesses, or why there are none."""

    file: str
    guesses: Sequence[Guess] = ()
    explanation: Path | None = None  # where its overlay lies
    error: str | None = None


@dataclass
class Search:
    """What was found: pictures in order, folders that cannot be read, and what was left out."""

    pictures: list[Path] = field(default_factory=list)
    unreadable: list[Answer] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    other_formats: set[Path] = field(default_factory=set)


def find_pictures(paths: Iterable[Path]) -> Search:
    """The named files, and every picture (by extension) below the named folders, sorted.

    Hidden files and folders are left out of folders; pictures of other formats are noted, by extension.
    A named file that does not exist is among the pictures too, for a report.
    """
    search = Search()
    found: list[Path] = []
    for path in dict.fromkeys(paths):
        found += _walk(path, search) if _is_folder(path, search) else [path]
    search.pictures = list(dict.fromkeys(found))
    return search


def _is_folder(path: Path, search: Search) -> bool:
    """Whether a named path is a folder; one that cannot be looked at is left to `predict_file` to report."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        search.missing.append(path)
    except OSError:  # Path.is_dir would raise it, too
        return False
    return False


def _walk(folder: Path, search: Search) -> list[Path]:
    """The pictures below a folder, sorted; notes in `search` what cannot be read or is left out."""

    def note(error: OSError) -> None:
        reason = f"the folder cannot be read: {error.strerror}"
        answer = Answer(str(error.filename), error=reason)
        search.unreadable += [answer] if answer not in search.unreadable else []

    pictures = []
    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in (Path(parent, name) for name in files if not name.startswith(".")):
            extension = file.suffix.lower()
            if extension in EXTENSIONS:
                pictures.append(file)
            elif extension in _OTHER_FORMATS:
                search.other_formats.add(file)
    return sorted(pictures)


def overlay_paths(files: Sequence[Path], folder: Path) -> list[Path]:
    """Where the overlay of each file goes: below `folder` as the files lie below what they have in common."""
    absolute = [file.absolute() for file in files]
    common = Path(os.path.commonpath([file.parent for file in absolute]))
    return [folder / f"{file.relative_to(common)}.png" for file in absolute]


def predict_files(
    model: Model,
    files: Sequence[Path],
    *,
    top: int,
    parallel: int,
    overlays: Sequence[Path] | None = None,
) -> Iterator[Answer]:
    """Answer for every file, in order, `parallel` at a time; an unreadable file gets an error.

    `overlays` says where the explanation of each is drawn. Raises `OSError` where that fails.
    """
    remaining = zip(files, overlays or repeat(None), strict=False)
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        pending: deque[Future[Answer]] = deque(
            pool.submit(predict_file, model, file, top=top, overlay=overlay)
            for file, overlay in islice(remaining, 4 * parallel)
        )
        try:
            while pending:
                answer = pending.popleft().result()
                pending.extend(
                    pool.submit(predict_file, model, file, top=top, overlay=overlay)
                    for file, overlay in islice(remaining, 1)
                )
                yield answer
        finally:
            pool.shutdown(cancel_futures=True)


def predict_file(model: Model, file: Path, *, top: int, overlay: Path | None = None) -> Answer:
    """The `top` most probable classes of one picture file, and in `overlay` why the first."""
    try:
        if file.exists() and not file.is_file():
            raise PictureError("not a plain file")
        with file.open("rb") as stream:
            view = load_view(stream, model.artifact.preprocessing)
    except PictureError as error:
        return Answer(str(file), error=str(error))
    except OSError as error:
        return Answer(str(file), error=error.strerror or "cannot be read")
    (inferred,) = model.infer_views([view], explain=overlay is not None)
    if overlay and inferred.explanation:
        overlay.parent.mkdir(parents=True, exist_ok=True)
        overlay.write_bytes(inferred.explanation.overlay())
    (guesses,) = rank(inferred.logits[np.newaxis], model.artifact.classes, count=top)
    return Answer(str(file), guesses=guesses, explanation=overlay)
