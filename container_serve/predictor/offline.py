"""Offline inference: files and folders → the most probable classes of each picture.

Called by `predict.py`. Pictures are decoded and inferred in parallel streams and come out in order; only a
few are held at a time, so that memory does not grow with their number.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from predictor.images import PictureError, load_picture
from predictor.model import Model
from predictor.ranking import Guess, rank

_EXTENSIONS = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Answer:
    """What came out for one file: guesses, or why there are none."""

    file: str
    guesses: Sequence[Guess] = ()
    error: str | None = None


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """The named files, and every JPEG and PNG file (by extension) below the named folders, sorted.

    Hidden files and folders are left out of folders. A named file that does not exist is kept, for a report.
    """
    found: list[Path] = []
    for path in paths:
        found += _walk(path) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def _walk(folder: Path) -> list[Path]:
    pictures = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures += [
            Path(parent, name)
            for name in files
            if Path(name).suffix.lower() in _EXTENSIONS and not name.startswith(".")
        ]
    return sorted(pictures)


def predict_files(model: Model, files: Iterable[Path], *, top: int, parallel: int) -> Iterator[Answer]:
    """Answer for every file, in order, `parallel` at a time; an unreadable file gets an error."""
    remaining = iter(files)
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        pending: deque[Future[Answer]] = deque(
            pool.submit(predict_file, model, file, top=top) for file in islice(remaining, 4 * parallel)
        )
        try:
            while pending:
                answer = pending.popleft().result()
                pending.extend(
                    pool.submit(predict_file, model, file, top=top) for file in islice(remaining, 1)
                )
                yield answer
        finally:
            pool.shutdown(cancel_futures=True)


def predict_file(model: Model, file: Path, *, top: int) -> Answer:
    """The `top` most probable classes of one picture file."""
    try:
        if file.exists() and not file.is_file():
            raise PictureError("not a plain file")
        with file.open("rb") as stream:
            image = load_picture(stream, model.artifact.preprocessing)
    except PictureError as error:
        return Answer(str(file), error=str(error))
    except OSError as error:
        return Answer(str(file), error=error.strerror or "cannot be read")
    logits = model.engine.infer(image[np.newaxis])
    return Answer(str(file), guesses=rank(logits, model.artifact.classes, count=top)[0])
