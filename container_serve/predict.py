"""`predict FILES|FOLDER…`: offline inference. The thin door to `predictor.offline` and `predictor.listing`.

Exit codes: 0 every picture was answered; 1 a picture or folder could not be read (the others are answered),
or the model cannot be used; 2 wrong usage, or no picture was found; 130 Ctrl-C.
"""

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from predictor.artifact import ArtifactError
from predictor.cpus import cpu_limit
from predictor.images import NAMES
from predictor.listing import WRITERS
from predictor.model import NOT_EXPLAINABLE, load_model
from predictor.offline import Answer, Search, find_pictures, overlay_paths, predict_files
from predictor.settings import SettingsError, engine_precision, model_folder


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of `predict`."""
    parser = argparse.ArgumentParser(
        prog="predict",
        description="Name the breeds of the dogs on pictures.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER", help=f"pictures: {NAMES}")
    parser.add_argument("--model-dir", type=Path, default=model_folder(os.environ), help="the model artifact")
    parser.add_argument("--top-k", type=_count, default=5, metavar="K", help="breeds named for each picture")
    parser.add_argument("--format", choices=list(WRITERS), default="table", help="how answers are written")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to the terminal")
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="FOLDER",
        help="write there, for each picture, what spoke for its breed",
    )
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return count


def main(arguments: Sequence[str]) -> int:
    """Parse, predict, write, and return the exit code."""
    options = parse(arguments)
    search = find_pictures(options.paths)
    _report_left_out(search)
    if len(search.pictures) == len(search.missing) and not search.unreadable:
        _report_nothing_found(search, options.paths)
        return 2
    parallel = cpu_limit()
    unreadable: list[Answer] = []
    try:
        precision = engine_precision(os.environ)
        model = load_model(options.model_dir, threads=parallel, streams=parallel, precision=precision)
        if options.explain and not model.engine.explainable:
            raise SettingsError(f"--explain: {NOT_EXPLAINABLE}")
        overlays = overlay_paths(search.pictures, options.explain) if options.explain else None
        answers = predict_files(
            model, search.pictures, top=options.top_k, parallel=parallel, overlays=overlays
        )
        with _destination(options.output) as stream:
            watched = _watched(answers, len(search.pictures), unreadable)
            WRITERS[options.format](chain(watched, search.unreadable), stream)
    except SettingsError as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2
    except ArtifactError as error:
        print(f"predict: the model cannot be used: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"predict: {error.filename or options.output or 'standard output'}: {error.strerror}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    unreadable += search.unreadable
    for answer in unreadable:
        print(f"predict: {answer.file}: {answer.error}", file=sys.stderr)
    return 1 if unreadable else 0


def _report_left_out(search: Search) -> None:
    """Say how many pictures of other formats lie in the folders: nothing is skipped in silence."""
    if count := len(search.other_formats):
        by_extension = Counter(file.suffix.lower() for file in search.other_formats)
        extensions = ", ".join(f"{name} ({number})" for name, number in sorted(by_extension.items()))
        files = "file" if count == 1 else "files"
        print(f"predict: {count} {files} of other formats left out: {extensions}", file=sys.stderr)


def _report_nothing_found(search: Search, paths: Sequence[Path]) -> None:
    for path in search.missing:
        print(f"predict: {path} does not exist", file=sys.stderr)
    if searched := [str(path) for path in paths if path not in search.missing]:
        print(f"predict: no picture in {', '.join(searched)}", file=sys.stderr)


def _watched(answers: Iterable[Answer], total: int, unreadable: list[Answer]) -> Iterator[Answer]:
    """Pass the answers on, show progress to people, and note the failures."""
    for answer in tqdm(answers, total=total, unit="picture", disable=None, file=sys.stderr):
        if answer.error:
            unreadable.append(answer)
        yield answer


@contextlib.contextmanager
def _destination(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears only once it is complete."""
    if output is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
        yield sys.stdout
        sys.stdout.flush()
        return
    partial = output.with_name(f".{output.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            yield stream
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
